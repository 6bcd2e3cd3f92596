from include.training.report import slice_tables


def test_each_column_of_slices_has_a_table_with_what_could_be_measured():
    slices = {
        "carrier": {"UA": {"rows": 5120, "auc": 0.71234, "brier": 0.2}, "AA": {"rows": 300, "brier": 0.1}},
        "origin": {},
    }

    assert slice_tables(slices).splitlines() == [
        "",
        "**By slice**: what it is worth on the held-out rows of each value of `gate.slices`, most rows first.",
        "",
        "| `carrier` | rows | auc | brier |",
        "| --- | --- | --- | --- |",
        "| UA | 5,120 | 0.7123 | 0.2000 |",
        "| AA | 300 |  | 0.1000 |",
        "",
        "No value of `origin` has as many held-out rows as `gate.min_slice_rows` asks for.",
    ]


def test_a_value_stays_in_its_cell():
    told = slice_tables({"note": {"a|b\nc": {"rows": 300}, "": {"rows": 300}}})

    assert "| a\\|b c | 300 |" in told
    assert "| (missing) | 300 |" in told


def test_without_slices_there_is_no_table():
    assert slice_tables({}) == ""
