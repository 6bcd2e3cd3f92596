import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import BadRequestError
from include.recipe import Features
from include.serving.instances import read_instances
from include.serving.json_rows import rows_of
from include.serving.limits import Limits

FEATURES = Features(numeric=["distance"], categorical=["carrier"])
GOOD = {"ride_id": "r1", "day": "2020-01-02", "distance": 1.5, "carrier": "AA"}


def read(content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_instances(rows_of(body), key="ride_id", day="day", features=FEATURES)


def test_rows_become_columns_and_unknown_fields_are_ignored():
    found = read(
        {"instances": [{**GOOD, "colour": "red"}, {**GOOD, "ride_id": "r2", "distance": None, "carrier": None}]}
    )

    assert found.columns == {"distance": [1.5, None], "carrier": ["AA", None]}
    assert found.keys == ["r1", "r2"]
    assert found.days == ["2020-01-02", "2020-01-02"]


def test_key_and_date_may_be_left_out():
    found = read({"instances": [{"distance": 1, "carrier": "AA"}]})

    assert len(found.keys[0]) == 32
    assert found.days == [None]
    assert isinstance(found.columns["distance"][0], float)


def test_all_that_a_row_lacks_is_said_at_once():
    with pytest.raises(BadRequestError, match=r"^'distance', 'carrier' are missing; send null") as refused:
        read({"instances": [GOOD, {"ride_id": "r2"}]})

    assert (refused.value.field, refused.value.row) == ("distance", 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"distance": 1, "carier": "AA"},
            "'carrier' is missing; send null if it is not known. Is 'carier' meant to be 'carrier'?",
        ),
        (
            {"Distance": 1, "CARRIER": "AA"},
            "'distance', 'carrier' are missing; send null for what is not known. "
            "Is 'Distance' meant to be 'distance'? Is 'CARRIER' meant to be 'carrier'?",
        ),
        ({"distance": 1, "colour": "AA"}, "'carrier' is missing; send null if it is not known."),
    ],
)
def test_what_was_probably_misspelt_is_named(row, said):
    with pytest.raises(BadRequestError) as refused:
        read({"instances": [{"ride_id": "r2", **row}]})

    assert str(refused.value) == said


def test_pictures_come_in_base64_or_as_lists_and_stay_text():
    features = Features(text={"note": {}}, image={"photo": {"height": 4, "width": 4}})
    photos = ["aGVsbG8=", [[1, 2], [3, 4]], None]
    rows = [{"note": note, "photo": photo} for note, photo in zip(["A b", None, ""], photos, strict=True)]

    found = read_instances(rows, key="ride_id", day="day", features=features)

    assert found.columns == {"note": ["A b", None, ""], "photo": ["aGVsbG8=", "[[1, 2], [3, 4]]", None]}


@pytest.mark.parametrize(("field", "value"), [("note", ["a"]), ("photo", 7), ("photo", {"a": 1}), ("photo", True)])
def test_what_is_no_text_or_picture_is_refused_by_field_and_row(field, value):
    features = Features(text={"note": {}}, image={"photo": {"height": 4, "width": 4}})
    row = {"note": "a", "photo": None, field: value}

    with pytest.raises(BadRequestError) as refused:
        read_instances([row], key="ride_id", day="day", features=features)

    assert (refused.value.field, refused.value.row) == (field, 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"distance": True}, "distance"),
        ({"distance": "1.5"}, "distance"),
        ({"distance": [1]}, "distance"),
        ({"distance": 1e39}, "distance"),
        ({"distance": 10**400}, "distance"),
        ({"carrier": 7}, "carrier"),
        ({"carrier": "\ud800"}, "carrier"),
        ({"ride_id": ""}, "ride_id"),
        ({"ride_id": 1.5}, "ride_id"),
        ({"ride_id": "\udfff"}, "ride_id"),
        ({"day": "2020-13-01"}, "day"),
        ({"day": "20200102"}, "day"),
        ({"day": "../../x"}, "day"),
        ({"day": 20200102}, "day"),
    ],
)
def test_a_wrong_value_is_refused_by_field_and_row(change, field):
    with pytest.raises(BadRequestError) as refused:
        read({"instances": [GOOD, {**GOOD, **change}]})

    assert (refused.value.status, refused.value.field, refused.value.row) == (422, field, 1)
    assert field in str(refused.value)


@pytest.mark.parametrize(
    ("row", "field", "what"),
    [
        (b'"distance": NaN, "carrier": "AA"', "distance", "is NaN"),
        (b'"distance": -Infinity, "carrier": "AA"', "distance", "too large"),
        (b'"distance": ' + b"9" * 5000 + b', "carrier": "AA"', "distance", "too large"),
        (b'"distance": 1, "carrier": "AA", "ride_id": ' + b"9" * 5000, "ride_id", "a number"),
        (b'"distance": 1, "carrier": "AA", "distance": 2', "distance", "more than once"),
        (b'"distance": 1, "carrier": NaN', "carrier", "a number"),
    ],
)
def test_what_only_python_takes_for_json_is_refused_by_field_and_row(row, field, what):
    with pytest.raises(BadRequestError, match=what) as refused:
        read(b'{"instances": [' + json.dumps(GOOD).encode() + b", {" + row + b"}]}")

    assert (refused.value.status, refused.value.field, refused.value.row) == (422, field, 1)


def test_what_is_odd_in_a_field_nobody_reads_is_ignored():
    found = read(
        b'{"instances": [{"distance": 1, "carrier": "AA", "x": {"a": 1, "a": NaN, "b": ' + b"9" * 5000 + b"}}]}"
    )

    assert found.columns == {"distance": [1.0], "carrier": ["AA"]}


def test_instances_that_are_there_twice_are_refused():
    with pytest.raises(BadRequestError, match="'instances' is there more than once"):
        read(b'{"instances": [{}], "instances": [{}]}')


@pytest.mark.parametrize("name", ["distance", "carrier"])
def test_a_missing_feature_is_refused(name):
    with pytest.raises(BadRequestError, match=f"'{name}' is missing"):
        read({"instances": [{key: value for key, value in GOOD.items() if key != name}]})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b"[]",
        b"{}",
        b'{"instances": []}',
        b'{"instances": {}}',
        b'{"instances": null}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_of_another_form_is_refused(body):
    with pytest.raises(BadRequestError) as refused:
        read(body)

    assert refused.value.status == 400


def test_a_row_that_is_no_object_is_refused():
    with pytest.raises(BadRequestError, match="Row 1 is a string"):
        read({"instances": [GOOD, "AA"]})


def test_too_many_rows_are_refused():
    with pytest.raises(BadRequestError) as refused:
        read({"instances": [GOOD] * (Limits().rows + 1)})

    assert refused.value.status == 413


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(ANYTHING | st.fixed_dictionaries({"instances": st.lists(st.fixed_dictionaries(dict.fromkeys(GOOD, ANYTHING)))}))
def test_whatever_is_sent_is_read_or_refused_in_words(content):
    refusal = None
    try:
        found = read(content)
    except BadRequestError as error:
        refusal = error

    if refusal:
        assert str(refusal)
        assert refusal.status in {400, 422}
    else:
        assert len(found.keys) == len(found.columns["distance"]) == len(content["instances"])
