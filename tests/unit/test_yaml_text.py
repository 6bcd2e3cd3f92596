import pytest
import yaml

from include.yaml_text import parse_yaml


def test_it_reads_what_safe_load_reads():
    text = "a: &x {b: 1, c: 2020-01-02}\nd: &d {<<: *x, b: [no, 1.5, ~, 'two']}\ne: {<<: *d, c: 1}\nf: {<<: *d}\n"

    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nstart: 2026-11-31\n", "line 2, column 8: '2026-11-31' is no timestamp: day is out of range for month"),
        ("a: !!int abc\n", "line 1, column 4: 'abc' is no int: invalid literal"),
        ("a: 1\nb: {c: 1, c: 2}\n", r"line 2, column 11: the key 'c' is here twice, in `b: {c: 1, c: 2}`"),
        ("a: [1\nb: 2\n", "line 2, column 2: .*, in `b: 2`"),
        ("a:\n\tb: 1\n", r"line 2, column 1: .*There is a tab in it: YAML is indented by spaces\."),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, said):
    with pytest.raises(yaml.YAMLError, match=said):
        parse_yaml(text)
