import pytest

from include.config import load_pipeline
from include.errors import ConfigError
from include.ingestion import files
from include.onboarding.guess import Asked
from include.onboarding.look import located, new
from include.settings import ROOT
from include.sources import Files
from tests.unit.onboarding.conftest import DAYS, ROWS, orders


@pytest.fixture
def delivered(settings, tmp_path, monkeypatch):
    """A folder of orders by day, with outcomes in files of their own, seen from the folder above."""
    monkeypatch.chdir(tmp_path)
    for day in DAYS:
        columns = orders(day)
        for kind, names in (("orders", set(columns) - {"paid", "paid_flag"}), ("outcomes", {"order_id", "paid"})):
            (tmp_path / kind).mkdir(exist_ok=True)
            kept = [name for name in columns if name in names]
            rows = zip(*(columns[name] for name in kept), strict=True)
            lines = [",".join(kept), *(",".join(map(str, row)) for row in rows)]
            (tmp_path / kind / f"{day}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "orders" / "notes.csv").write_text("not a day\n")
    return tmp_path


def test_what_is_written_can_be_loaded_without_an_edit(delivered):
    asked = Asked("shop", "paid", located("orders/{date}.csv", "--events"), located("outcomes/{date}.csv", "--labels"))

    path, seen, _ = new(asked)

    pipeline = load_pipeline("shop")
    assert path.name == "shop.yaml"
    schema = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / schema).resolve() == ROOT / "config" / "pipeline.schema.json"
    assert (pipeline.key, pipeline.date, pipeline.label_key) == ("order_id", "bought_on", "order_id")
    assert pipeline.outcomes == {"paid": "string"}
    assert (len(seen.events.days), seen.events.rows) == (len(DAYS), len(DAYS) * ROWS)


def test_a_name_that_is_taken_is_written_over_only_by_force(delivered):
    asked = Asked("shop", "channel", located("orders/{date}.csv", "--events"))
    new(asked)

    with pytest.raises(ConfigError, match="is there already: choose another name"):
        new(asked)
    new(asked, is_forced=True)


def test_a_name_no_pipeline_can_have_leaves_nothing_behind(delivered, settings):
    with pytest.raises(ConfigError, match=r"2 to 61 lower-case letters, digits, underscores.* \(got 'My-Shop'\)"):
        new(Asked("My-Shop", "channel", located("orders/{date}.csv", "--events")))

    assert not (settings.pipelines / "My-Shop.yaml").exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("orders/all.csv", "has no '{date}' in it"),
        ("orders/{date}.txt", "ends in none of .csv"),
        ("ordres/{date}.csv", "^--events 'ordres/{date}.csv': no file matches it"),
    ],
)
def test_a_path_that_leads_nowhere_is_answered_with_what_to_do(delivered, path, said):
    with pytest.raises(ConfigError, match=said):
        new(Asked("shop", "channel", located(path, "--events")))


def test_a_path_in_the_data_folder_is_written_relative_to_it(delivered, settings):
    (settings.data / "in").mkdir(parents=True)
    (settings.data / "in" / f"{DAYS[0]}.csv").write_text("a\n1\n")

    assert located("in/{date}.csv", "--events") == "in/{date}.csv"
    assert located(str(settings.data / "in" / "{date}.csv"), "--events") == "in/{date}.csv"
    assert located("s3://bucket/{date}.csv", "--events") == "s3://bucket/{date}.csv"


def test_days_are_read_from_names_and_what_is_no_day_is_not(delivered):
    (delivered / "orders" / "2024-13-45.csv").write_text("a\n")
    (delivered / "parts" / "2024-03-01").mkdir(parents=True)
    (delivered / "parts" / "2024-03-01" / "2024-03-01-b.csv").write_text("a\n")

    assert files.days_of(Files(path=str(delivered / "orders" / "{date}.csv"))) == DAYS
    assert files.days_of(Files(path=str(delivered / "parts" / "{date}" / "{date}-*.csv"))) == ["2024-03-01"]
