"""`evergreen keys`, from making a key to revoking it."""

import pytest
from typer.testing import CliRunner

from include.cli import app, main
from include.serving.keys import digest_of, keys_path, read_keys


@pytest.fixture
def evergreen(settings, monkeypatch):
    monkeypatch.setattr("include.commands.console.width", 200)

    def run(*words):
        told = CliRunner().invoke(app, ["keys", *words], catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.output

    return run


def test_a_token_is_shown_once_and_is_the_one_kept(evergreen, settings):
    said = evergreen("add", "shop", "--rate", "100/second", "--pipeline", "rides")

    token = said.splitlines()[1]
    (key,) = read_keys(settings)
    assert key.sha256 == digest_of(token.encode()).hex()
    assert (key.rate, key.pipelines) == ("100/second", ("rides",))
    listed = evergreen("list")
    assert token not in listed
    assert key.sha256[:8] not in listed
    assert "shop" in listed
    assert "100/second" in listed


def test_a_rotated_key_says_how_long_the_token_before_is_good(evergreen, settings):
    first = evergreen("add", "shop").splitlines()[1]

    said = evergreen("rotate", "shop", "--overlap-hours", "2")

    assert "is good until" in said
    assert said.splitlines()[1] != first
    old, new = read_keys(settings)
    assert (old.expires_at - new.made_at).total_seconds() == 2 * 3600
    assert evergreen("list").count("shop") == 2


def test_whoever_revokes_the_last_key_is_told_that_nobody_may_ask(evergreen, settings):
    assert "everybody may ask" in evergreen("list")
    evergreen("add", "shop")
    evergreen("add", "other")

    assert "nobody" not in evergreen("revoke", "shop")
    said = evergreen("revoke", "other")
    assert f"nobody may ask. Add one, or remove {keys_path(settings)} to" in said
    assert "nobody may ask" in evergreen("list")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "shop", "--pipeline", "ridez"], "ridez"),
        (["add", "shop", "--rate", "often"], "rate"),
        (["revoke", "shop"], "There is no key 'shop'"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(settings, monkeypatch, capsys, words, says):
    monkeypatch.setattr("sys.argv", ["evergreen", "keys", *words])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 1
    assert says in capsys.readouterr().out
