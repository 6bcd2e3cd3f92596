import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from include.errors import ConfigError
from include.serving.keys import add_key, keys_path, read_keys, revoke_key, rotate_key

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)


def add(settings, name="shop", *, rate=None, pipelines=()):
    return add_key(settings, name, rate=rate, pipelines=list(pipelines), now=NOW)


def test_the_file_holds_a_tokens_hash_and_is_the_owners_alone(settings):
    token = add(settings, rate="100/second", pipelines=["rides"])

    path = keys_path(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert token not in path.read_text()
    (kept,) = json.loads(path.read_text())["keys"]
    assert kept == {
        "name": "shop",
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "made_at": "2026-01-02T03:04:00Z",
        "expires_at": None,
        "rate": "100/second",
        "pipelines": ["rides"],
    }


def test_the_file_is_no_declared_state(settings):
    add(settings)

    assert not list(settings.serving.glob("*.json"))


def test_a_rotated_key_is_good_twice_until_the_overlap_ends(settings):
    first = add(settings, rate="5/minute", pipelines=["rides"])
    second = rotate_key(settings, "shop", overlap=DAY, now=NOW)

    old, new = read_keys(settings)
    assert (old.expires_at, new.expires_at) == (NOW + DAY, None)
    assert (new.rate, new.pipelines) == ("5/minute", ("rides",))
    assert first != second
    assert not old.is_expired(NOW + DAY - timedelta(seconds=1))
    assert old.is_expired(NOW + DAY)


def test_a_later_rotation_may_shorten_an_overlap_lengthens_none_and_forgets_what_is_over(settings):
    add(settings)
    rotate_key(settings, "shop", overlap=DAY, now=NOW)
    rotate_key(settings, "shop", overlap=7 * DAY, now=NOW + DAY / 2)
    assert [key.expires_at for key in read_keys(settings)] == [NOW + DAY, NOW + 7.5 * DAY, None]

    rotate_key(settings, "shop", overlap=DAY, now=NOW + 2 * DAY)

    assert [key.expires_at for key in read_keys(settings)] == [NOW + 3 * DAY, NOW + 3 * DAY, None]


def test_without_an_overlap_the_token_before_is_over_at_once(settings):
    add(settings)
    rotate_key(settings, "shop", overlap=timedelta(0), now=NOW)

    assert [key.expires_at for key in read_keys(settings)] == [None]


def test_a_revoked_key_goes_with_both_its_tokens_and_no_other(settings):
    add(settings)
    add(settings, "other")
    rotate_key(settings, "shop", overlap=DAY, now=NOW)

    assert revoke_key(settings, "shop") == 1

    assert [key.name for key in read_keys(settings)] == ["other"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (add, "evergreen keys rotate shop"),
        (lambda settings: revoke_key(settings, "shopp"), "Did you mean 'shop'?"),
        (lambda settings: rotate_key(settings, "x", overlap=DAY, now=NOW), "There is no key 'x'"),
        (lambda settings: add(settings, "a b"), "name: 1 to 63 letters, digits"),
        (lambda settings: add(settings, "x", rate="often"), "rate: 'often' is no rate such as 100/second, 20/minute"),
        (lambda settings: add(settings, "x", rate="0/second"), "no rate such as 100/second"),
        (lambda settings: add(settings, "x", rate="1/second; 5/minute"), "no rate such as 100/second"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(settings, change, says):
    add(settings)
    before = keys_path(settings).read_bytes()

    with pytest.raises(ConfigError) as refused:
        change(settings)

    assert says in str(refused.value)
    assert keys_path(settings).read_bytes() == before


@pytest.mark.parametrize("broken", ["", "[]", '{"keys": [{"name": "x"}]}', '{"keys": 5}'])
def test_a_broken_file_is_told_and_left_alone(settings, broken):
    add(settings)
    keys_path(settings).write_text(broken)

    with pytest.raises(ConfigError, match="not readable as keys"):
        add(settings, "other")

    assert keys_path(settings).read_text() == broken


def test_the_complaint_about_a_broken_file_quotes_none_of_it(settings):
    add(settings)
    keys_path(settings).write_text('{"keys": [{"name": "x", "sha256": "secret-by-mistake"}]}')

    with pytest.raises(ConfigError) as refused:
        read_keys(settings)

    assert "secret-by-mistake" not in str(refused.value)
