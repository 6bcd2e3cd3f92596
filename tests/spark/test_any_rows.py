"""Whatever is delivered: each row is clean or quarantined, never both or neither, and the order changes nothing."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.cleaning import rules
from include.pipeline import Deduplicate

DAY = "2013-07-08"
COLUMNS = {"key": "string", "n": "bigint", "day": "date"}
NUMBERS = {"": None, None: None, "7": 7, "-7": -7, " 12 ": 12, "1000": 1000}  # what is none of these is no number
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", None]),
        st.sampled_from([*NUMBERS, "1.5", "many", "9" * 30]),
        st.sampled_from([DAY, DAY, DAY, "2013-07-09", "08.07.2013", None]),
    ),
    min_size=1,
    max_size=12,
)


def cleaned(rows):
    rows = rules.cast_columns(rows, COLUMNS)
    for column in ("key", "day"):
        rows = rules.mark_missing(rows, column)
    rows = rules.mark_wrong_day(rows, "day")
    rows = rules.mark_duplicates(rows, Deduplicate(by=["key"], order=["n desc", "source_row"]))
    return rules.mark_rules(rows, {"positive": "n >= 0", "small": "n < 100"})


def broken_before_rules(key, number, day) -> set[str]:
    """The same in plain Python, for one row by itself."""
    found = {"type:n"} if number not in NUMBERS else set()
    found |= {"missing:key"} if key is None else set()
    found |= {"missing:day"} if day is None else {"type:day"} if "." in day else {"wrong_day"} if day != DAY else set()
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_each_row_is_clean_or_quarantined_by_the_rules_it_breaks(delivered, texts):
    texts = [(key, number or None, day) for key, number, day in texts]  # an empty field is null: reading sees to it
    forth, back = (
        delivered(list(COLUMNS), *texts),
        delivered(list(COLUMNS), *texts).orderBy("source_row", ascending=False),
    )
    found = {row["source_row"]: row for row in cleaned(forth).collect()}

    assert sorted(found) == list(range(2, len(texts) + 2))
    assert {place: row[rules.BROKEN] for place, row in found.items()} == {
        row["source_row"]: row[rules.BROKEN] for row in cleaned(back).collect()
    }
    winners = {}
    for place, (key, number, day) in enumerate(texts, 2):
        names = set((found[place][rules.BROKEN] or "").split(",")) - {""}
        alone = broken_before_rules(key, number, day)
        assert names - {"duplicate", "positive", "small"} == alone
        value = NUMBERS.get(number)
        assert ("positive" in names, "small" in names) == (value is not None and value < 0, (value or 0) >= 100)
        if not alone:
            order = (value is None, -(value or 0), place)  # the greatest first, none last
            winners[key] = min(winners.get(key, (order, place)), (order, place))
    stay = {place for place, row in found.items() if "duplicate" not in (row[rules.BROKEN] or "")}
    alone = {place for place, text in enumerate(texts, 2) if broken_before_rules(*text)}
    assert stay == alone | {place for _, place in winners.values()}
