import json

import numpy as np
import pytest

from include.errors import BadValueError
from include.features import model_inputs, summaries
from include.recipe import Features, Image, Text

FEATURES = Features(
    numeric=["distance"],
    categorical=["carrier"],
    text={"note": Text()},
    image={"photo": Image(height=4, width=4)},
)
COLUMNS = {
    "distance": [1, None],
    "carrier": ["AA", None],
    "note": ["Late AGAIN, Über-late", None],
    "photo": [json.dumps([3] * 16), None],
}


def test_each_kind_has_its_type_and_its_way_of_missing():
    found = model_inputs(COLUMNS, FEATURES)

    np.testing.assert_array_equal(found["distance"], np.array([[1], [np.nan]], np.float32))
    assert found["carrier"].tolist() == [["AA"], [""]]
    assert found["note"].tolist() == [["late again, über-late"], [""]]
    np.testing.assert_array_equal(found["photo"], np.array([[3] * 16, [np.nan] * 16], np.float32))
    assert list(found) == FEATURES.names


def test_a_text_is_summed_up_by_its_words_and_a_picture_by_its_mean():
    found = summaries(COLUMNS, FEATURES)

    np.testing.assert_array_equal(found["note"], [4, np.nan])
    np.testing.assert_array_equal(found["photo"], [3, np.nan])


def test_a_picture_that_is_none_is_refused_by_column_and_row():
    with pytest.raises(BadValueError, match="'photo' has 1 values, expected 16") as refused:
        model_inputs({**COLUMNS, "photo": [None, "[1]"]}, FEATURES, is_strict=True)

    assert (refused.value.field, refused.value.row) == ("photo", 1)


def test_in_a_training_it_counts_as_missing_and_is_said(caplog):
    found = model_inputs({**COLUMNS, "photo": ["[1]", COLUMNS["photo"][0]]}, FEATURES)

    assert np.isnan(found["photo"][0]).all()
    assert (found["photo"][1] == 3).all()
    assert "1 of 2 pictures are none and count as missing, such as '[1]' has 1 values, expected 16" in caplog.text


def test_what_is_asked_for_in_another_order_is_the_same():
    backwards = dict(reversed(COLUMNS.items()))

    assert list(model_inputs(backwards, FEATURES)) == FEATURES.names
