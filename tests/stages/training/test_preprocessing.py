import numpy as np

from include.recipe import Features
from include.training.preprocessing import fit_preprocessor


def test_columns_that_are_constant_or_empty_come_out_as_numbers():
    features = Features(numeric=["constant", "never"], categorical=["one", "blank"])
    columns = {
        "constant": np.full(9, 7, np.float32),
        "never": np.full(9, np.nan, np.float32),
        "one": np.array(["x"] * 9, object),
        "blank": np.array([""] * 9, object),
    }

    assert (fit_preprocessor(columns, features).transform(columns) == 0).all()
