import gzip
import json

import pandas as pd
import pytest

from include.config import load_pipeline
from include.errors import ConfigError
from include.validation import suite_of, validate

EXPECTATIONS = [
    {"expect_table_row_count_to_be_between": {"min_value": 3, "max_value": 10}},
    {"expect_column_values_to_be_unique": {"column": "flight_id"}},
    {"expect_column_values_to_be_between": {"column": "distance", "min_value": 10, "max_value": 100}},
]


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    return load_pipeline("flight_delays").model_copy(update={"expectations": EXPECTATIONS})


def stage(folder, **days):
    staged = {}
    for day, rows in days.items():
        file = folder / f"{day}.parquet"
        frame = pd.DataFrame(rows, columns=["flight_id", "distance"])
        frame.to_parquet(file)
        staged[day] = {
            "rows": len(rows),
            "quarantined": 2,
            "rules": {"malformed": 2},
            "files": [str(file)] if rows else [],
        }
    uri = folder / "staged.json"
    uri.write_text(json.dumps({"folder": str(folder), "days": staged, "rules": {}}))
    return str(uri)


def test_good_days_pass_bad_ones_are_refused_with_reason_and_both_keep_a_page(pipeline, tmp_path):
    good = [("a", 20.0), ("b", 30.0), ("c", 40.0)]
    bad = [("a", 20.0), ("a", -7.0), ("c", 40.0)]

    outcome = validate(pipeline, stage(tmp_path, good=good, bad=bad), "run-1")

    assert outcome["passed"] == ["good"]
    assert "expect_column_values_to_be_unique(flight_id): 2 of 3 rows fail" in outcome["refused"]["bad"]
    assert "expect_column_values_to_be_between(distance): 1 of 3 rows fail, such as [-7.0]" in outcome["refused"]["bad"]
    assert outcome["reports"]["bad"] == "flight_delays/reports/validation/bad/run-1.html.gz"
    page = gzip.decompress((tmp_path / "lake" / outcome["reports"]["bad"]).read_bytes()).decode()
    assert "flight_delays, bad: refused" in page
    assert page.count("✘") == 2
    assert "such as [-7.0]" in page
    assert '<td class="">min_value 10.0, max_value 100.0</td>' in page
    assert "http" not in page, "a page must show itself without the internet"
    assert (tmp_path / "lake" / outcome["reports"]["good"]).exists()


def test_the_reason_says_what_was_found_and_what_was_expected(pipeline, tmp_path):
    outcome = validate(pipeline, stage(tmp_path, few=[("a", 20.0)]), "run-1")

    reason = outcome["refused"]["few"]
    assert reason == "expect_table_row_count_to_be_between(table): found 1, expected min_value 3, max_value 10"


def test_a_day_without_clean_rows_is_refused(pipeline, tmp_path):
    outcome = validate(pipeline, stage(tmp_path, empty=[]), "run-1")

    assert outcome["refused"] == {"empty": "no clean rows at all, 2 quarantined: {'malformed': 2}"}


def test_an_expectation_on_a_column_that_is_not_there_refuses_with_the_cause(pipeline, tmp_path):
    odd = pipeline.model_copy(update={"expectations": [{"expect_column_values_to_be_unique": {"column": "nope"}}]})

    outcome = validate(odd, stage(tmp_path, day=[("a", 20.0)]), "run-1")

    assert "nope" in outcome["refused"]["day"]
    assert "could not be checked" in outcome["refused"]["day"]


def test_an_unknown_expectation_is_refused_with_those_like_it(pipeline):
    odd = pipeline.model_copy(update={"expectations": [{"expect_column_values_to_be_uniqe": {"column": "a"}}]})

    with pytest.raises(
        ConfigError, match=r"flight_delays\.yaml.*uniqe.*Did you mean: expect_column_values_to_be_unique"
    ):
        suite_of(odd)


def test_arguments_that_do_not_fit_are_refused_by_name(pipeline):
    odd = pipeline.model_copy(update={"expectations": [{"expect_column_values_to_be_unique": {"colum": "a"}}]})

    with pytest.raises(ConfigError, match=r"expectations\.expect_column_values_to_be_unique.*colum"):
        suite_of(odd)
