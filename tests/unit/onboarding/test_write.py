from datetime import date

import pytest
import yaml

from include.onboarding.write import flow, text, write

SCHEMA = "../pipeline.schema.json"


@pytest.mark.parametrize("target", ["paid", "channel", "amount"])
def test_what_is_written_reads_back_as_what_was_guessed(guess_for, target):
    found = guess_for(target, leaks={"paid_flag": "says so"})

    assert yaml.safe_load(write(found, "A head.", SCHEMA)) == found.content


def test_whatever_was_guessed_has_a_comment(guess_for):
    found = guess_for("paid")
    written = write(found, "A head.", SCHEMA)

    assert all(" ".join(note.split()[:4]) in " ".join(written.split()) for note in found.notes.values())
    assert "# country: is 'DE' in all sampled rows" in written


def test_no_line_is_too_long_to_read(guess_for):
    assert max(map(len, write(guess_for("paid"), "A head. " * 40, SCHEMA).splitlines())) <= 130


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "y",
        "on",
        "null",
        "1",
        "1.5",
        "a: b",
        "a #b",
        "- a",
        "",
        " a",
        "{date}",
        "x, y",
        "'q'",
        'say "hi"',
        "2024-01-01",
        "ü",
        "*",
        "a'b",
    ],
)
def test_any_text_reads_back_as_the_same_text(value):
    assert yaml.safe_load(f"key: {text(value)}") == {"key": value}
    assert yaml.safe_load(flow({value: [value]})) == {value: [value]}


def test_other_scalars_read_back_too():
    for value in (1, 1.5, True, None, date(2024, 1, 1)):
        assert yaml.safe_load(text(value)) == value
