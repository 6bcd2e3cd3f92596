import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.serving.json_rows import _careful_rows_of, _fast_rows_of

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text('a:"\\é\ud800', max_size=4)
)
NAMES = st.text("ab:é", max_size=2)
PAIRS = st.lists(st.tuples(NAMES, VALUES | st.lists(VALUES, max_size=2)), max_size=5)
ROWS = st.lists(st.tuples(PAIRS, st.booleans(), st.sampled_from([":", " :", ": "])), min_size=1, max_size=3)
AROUND = st.sampled_from(
    ["{%s}", "{%s} ", '{"x": [], %s}', '{%s, "instances": [{"a": 1}]}', '{"b": {"a": 1, "a": 2}, %s}']
)


def written(pairs, is_ascii, colon):
    texts = [[json.dumps(text, ensure_ascii=is_ascii) for text in pair] for pair in pairs]
    return "{" + ", ".join(colon.join(pair) for pair in texts) + "}"


@given(ROWS, AROUND)
@settings(deadline=None)
def test_what_is_read_fast_is_what_careful_reading_finds(rows, around):
    body = (around % f'"instances": [{", ".join(written(*row) for row in rows)}]').encode("utf-8", "surrogatepass")

    found = _fast_rows_of(body)

    assert found is None or repr(found) == repr(_careful_rows_of(body))


@pytest.mark.parametrize(
    "row",
    [b'{"a": 1, "b": null}', b'{"at": "10:30", "b": "a:b"}', '{"Zürich": "é"}'.encode(), b'{"a": "\\u00e9"}', b"{}"],
)
def test_usual_bodies_are_read_fast(row):
    assert _fast_rows_of(b'{"instances": [' + row + b"]}") == [json.loads(row)]


@pytest.mark.parametrize(
    "row",
    [
        b'{"a": 1, "a": 2}',
        b'{"a" :1, "a": 2}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": 1, "a": "\\u003a"}',
        b'{"a": ":", "a": ""}',
        b'{"a": {"b": 1}}',
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
    ],
)
def test_what_may_be_wrong_is_read_carefully(row):
    assert _fast_rows_of(b'{"instances": [' + row + b"]}") is None
