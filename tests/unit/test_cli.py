import pytest

from include import cli
from include.errors import ConfigError


def test_an_error_is_printed_as_it_is_also_where_it_looks_like_markup(monkeypatch, capsys):
    def fail():
        raise ConfigError("expected '^[a-z][/]{1,60}$', found 'A'")

    monkeypatch.setattr(cli, "app", fail)

    with pytest.raises(SystemExit):
        cli.main()

    assert capsys.readouterr().out == "✘ expected '^[a-z][/]{1,60}$', found 'A'\n"
