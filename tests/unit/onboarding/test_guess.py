import json

import pytest

from include.errors import ConfigError
from include.onboarding.fields import fields_of, widened
from include.onboarding.guess import MANY_EPOCHS, PATIENCE, Asked, Seen, delay_of, guess
from include.onboarding.profile import Column, Profile
from include.pictures import LIKE_A_PICTURE
from include.pipeline import Pipeline
from tests.unit.onboarding.conftest import DAYS, ROWS, profile_of


def test_what_is_guessed_is_a_pipeline(guess_for):
    for target in ("paid", "channel", "amount", "stars"):
        made = Pipeline.model_validate({**guess_for(target).content, "name": "shop"})
        assert made.training.target in made.clean_columns
        assert target not in made.training.features.names


@pytest.mark.parametrize(
    ("target", "task", "metrics"),
    [
        ("paid", "binary", ("auc", "log_loss")),
        ("channel", "multiclass", ("log_loss", "log_loss")),
        ("amount", "regression", ("r2", "rmse")),
    ],
)
def test_task_and_metrics_follow_from_the_target(guess_for, target, task, metrics):
    content = guess_for(target).content

    assert content["training"]["task"] == task
    assert (content["gate"]["metric"], content["governor"]["metric"]) == metrics


def test_columns_that_say_nothing_or_too_much_are_left_out_with_the_reason(guess_for):
    found = guess_for("paid", leaks={"paid_flag": "has one value for each of 'paid'"})

    assert set(found.left_out) == {"country", "paid_flag"}
    assert found.left_out["country"] == "is 'DE' in all sampled rows"
    assert not set(found.left_out) & set(found.content["cleaning"]["columns"])


def test_base64_of_many_words_is_no_sentence():
    words = tuple((f"aGVs/bG8+{number}/IQ==/abc+def", 1) for number in range(200))
    columns = {"blob": Column("blob", "string", rows=200, missing=0, distinct=200, values=words)}

    assert fields_of(Profile(DAYS, {DAYS[0]: 200}, columns), "day", skip=(), leaks={}).text == {}


def test_sentences_and_pictures_become_features_of_their_kind():
    sentences = [(f"it was {number} hours late", 1) for number in range(200)]
    pictures = [(json.dumps([[number] * 8] * 6), 1) for number in range(199)] + [(json.dumps([[1] * 9] * 9), 1)]
    ids = [(f"x-{number}", 1) for number in range(200)]
    named = {"said": sentences, "photo": pictures, "token": ids}
    columns = {
        name: Column(name, "string", rows=200, missing=0, distinct=200, values=tuple(values[-50:]))
        for name, values in named.items()
    }

    made = fields_of(Profile(DAYS, {DAYS[0]: 200}, columns), "day", skip=(), leaks={})

    assert made.text == {"said": {}}
    assert made.image == {"photo": {"height": 6, "width": 8}}
    assert made.rules == {"photo_is_a_picture": f"photo like '[%' or photo rlike '{LIKE_A_PICTURE}'"}
    assert made.categorical == []
    assert set(made.left_out) == {"token"}


def test_moments_markers_booleans_and_strange_names_become_features_by_an_expression(guess_for):
    content = guess_for("paid").content

    assert content["cleaning"]["derive"] == {
        "bought_at_hour": "cast(hour(bought_at) as double)",
        "temperature": "try_cast(temperature as bigint)",
        "Is_gift": "cast(`Is gift?` as double)",
        "paid_is_yes": "paid = 'yes'",
    }
    assert content["cleaning"]["columns"]["temperature"] == "string"
    assert content["cleaning"]["drop"] == ["Is gift?"]
    assert {"bought_at_hour", "temperature", "Is_gift"} <= set(content["training"]["features"]["numeric"])


def test_rules_hold_for_what_was_seen(guess_for):
    assert guess_for("paid").content["cleaning"]["rules"] == {
        "bought_at_is_of_the_day": "to_date(bought_at) = bought_on",
        "number_is_not_negative": "number >= 0",
        "amount_is_not_negative": "amount >= 0",
        "pieces_is_not_negative": "pieces >= 0",
        "stars_is_not_negative": "stars >= 0",
        "net_is_not_negative": "net >= 0",
        "paid_is_known": "paid in ('yes', 'no')",
    }


def test_what_is_looked_at_often_may_stop_early(guess_for):
    training = guess_for("paid").content["training"]

    assert training["epochs"] > MANY_EPOCHS
    assert training["patience"] == PATIENCE


def test_expectations_are_wider_than_what_was_seen(guess_for):
    expected = guess_for("paid").content["expectations"]

    assert expected[0] == {"expect_table_row_count_to_be_between": {"min_value": ROWS // 2, "max_value": ROWS * 2}}
    about = [body for entry in expected for body in entry.values() if body.get("column") == "channel"]
    assert about == [
        {"column": "channel", "mostly": 0.95},
        {"column": "channel", "value_set": ["phone", "shop", "web"], "mostly": 0.9},
    ]


@pytest.mark.parametrize(
    ("seen", "wide"),
    [((0, 1), (0, 1.5)), ((-20, 20), (-40, 40)), ((3, 3), (0, 6)), ((1013.2, 1020.9), (0, 1100)), ((-9, -1), (-13, 0))],
)
def test_a_range_is_widened_to_round_numbers_and_keeps_its_sign(seen, wide):
    assert widened(*seen) == wide


def test_the_schedule_starts_after_the_newest_day(guess_for):
    assert guess_for("paid").content["schedule"]["start"].isoformat() == "2024-03-11"


def test_an_unknown_target_is_answered_with_the_nearest_column(guess_for):
    with pytest.raises(ConfigError, match="no column 'payed' .* Did you mean 'paid'"):
        guess_for("payed")


def test_labels_become_a_source_of_their_own_with_key_and_delay(shop):
    labels = profile_of(
        {day: {"ref": [f"{day}-{n}" for n in range(ROWS)], "bad": [n % 2 for n in range(ROWS)]} for day in DAYS[:7]}
    )
    asked = Asked("shop", "bad", "o/{date}.csv", "l/{date}.csv")
    content = guess(asked, Seen(shop, labels, "ref", {})).content

    assert delay_of(shop, labels) == 3
    assert content["source"]["labels"] == {"path": "l/{date}.csv", "key": "ref", "delay_days": 3}
    assert content["cleaning"]["labels"] == {"ref": "string", "bad": "bigint"}
    assert Pipeline.model_validate({**content, "name": "shop"}).outcomes == {"bad": "bigint"}
