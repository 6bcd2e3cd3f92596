import pytest
import yaml

from include.config import load_pipeline
from include.onboarding.check import check

DAY = "2020-01-01"


@pytest.fixture
def checked(settings, spark, rides_yaml):
    """Return what a check of `rides` says, with a delivery of one day and parts of the YAML put otherwise."""

    def run(change=None, header="ride_id,day,distance,carrier", day=None):
        content = yaml.safe_load(rides_yaml)
        if change:
            change(content)
        (settings.pipelines / "rides.yaml").write_text(yaml.safe_dump(content))
        for folder, text in (("e", f"{header}\nr1,{DAY},2.5,AA\n"), ("l", "ride_id,late\nr1,true\n")):
            (settings.data / folder).mkdir(parents=True, exist_ok=True)
            (settings.data / folder / f"{DAY}.csv").write_text(text)
        return check(load_pipeline("rides"), day)

    return run


def wrong(results):
    return {what: remedy for what, _, remedy in results if remedy}


def test_a_yaml_that_fits_has_no_cross(checked):
    results = checked()

    assert wrong(results) == {}
    assert ("source.events", f"{DAY}: 1 rows, all 4 columns of the YAML", "") in results
    assert ("training", "target and 2 features have types to learn from", "") in results


def test_each_wrong_expression_is_named_by_its_key(checked):
    def change(it):
        it["cleaning"]["derive"] = {"speed": "distance / minutes", "far": "distance > 10"}
        it["cleaning"]["rules"] = {"is_far": "distance >", "is_long": "distance + 1", "is_good": "far or distance > 1"}
        it["cleaning"]["deduplicate"]["order"] = ["sorce_row"]

    found = wrong(checked(change))

    assert set(found) == {
        "cleaning.derive.speed", "cleaning.rules.is_far", "cleaning.rules.is_long", "cleaning.deduplicate"
    }  # fmt: skip
    assert "minutes" in found["cleaning.derive.speed"]
    assert "is double; a rule is true or false" in found["cleaning.rules.is_long"]


def test_a_missing_column_of_the_delivery_is_named_with_the_one_like_it(checked):
    [(what, remedy)] = wrong(checked(header="ride_id,day,distnce,carrier")).items()

    assert what == "source.events"
    assert "Is 'distance' now 'distnce'?" in remedy


def test_expectations_references_and_types_are_looked_at(checked):
    def change(it):
        it["expectations"] = [
            {"expect_column_values_to_be_uniqe": {"column": "ride_id"}},
            {"expect_column_values_to_not_be_null": {"column": "carier"}},
            {"expect_column_values_to_not_be_null": {"colum": "carrier"}},
            {"expect_column_values_to_not_be_null": {"column": "carrier"}},
        ]
        it["source"]["references"] = {"planes": "ref/planes.csv"}
        it["training"]["target"] = "carrier"
        it["training"]["features"] = {"numeric": ["carrier"], "categorical": ["distance"]}

    results = checked(change)
    found = [remedy for *_, remedy in results if remedy]

    assert len(found) == 7, found
    assert any("Did you mean: expect_column_values_to_be_unique" in remedy for remedy in found)
    assert any("no column 'carier' in the clean table. Did you mean 'carrier'?" in remedy for remedy in found)
    assert any("ref/planes.csv is not there" in remedy for remedy in found)
    assert any("derive `cast(distance as string)`" in remedy for remedy in found)


def test_a_connection_that_nobody_has_set_is_named_by_its_variable(checked):
    def change(it):
        it["source"]["events"] = {"connection": "shop", "table": "rides", "date_column": "day"}

    assert "set AIRFLOW_CONN_SHOP" in wrong(checked(change))["connection shop"]
