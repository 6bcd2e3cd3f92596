"""This file is what a replay compares: doing nothing, calendars, and the governor with some or all of its repairs."""

import re
from dataclasses import dataclass
from typing import get_args

from include.errors import ConfigError
from include.pipeline import Pipeline
from include.policy import Governor, RepairName

_CALENDARS = {"weekly": 7, "nightly": 1}
_REPAIRS: tuple[RepairName, ...] = get_args(RepairName)
KNOWN = (
    "governor, governor:retrain, governor:recalibrate, governor:retrain+recalibrate, static, every:N, weekly, nightly"
)


@dataclass(frozen=True)
class Policy:
    """How a model is kept: by a governor, by a calendar, or not at all."""

    name: str
    governor: Governor | None = None
    every: int | None = None  # days between trainings by a calendar
    offset: int = 0  # the calendar's phase


def policy_of(name: str, pipeline: Pipeline, *, offset: int = 0) -> Policy:
    """Return a policy by the name it has on the command line.

    :raises ConfigError: if there is no such policy.
    """
    kind, colon, rest = name.partition(":")
    if kind == "governor":
        allowed = set(rest.split("+")) if colon else set(_REPAIRS)
        if unknown := allowed.difference(_REPAIRS):
            raise ConfigError(
                f"policy '{name}': no repair is called {', '.join(map(repr, sorted(unknown)))}. Name one or several of "
                f"{', '.join(_REPAIRS)}, joined by '+'. Known: {KNOWN}."
            )
        repairs = pipeline.governor.repairs.model_copy(
            update={repair: None for repair in _REPAIRS if repair not in allowed}
        )
        return Policy(name, governor=pipeline.governor.model_copy(update={"repairs": repairs}))
    if name == "static":
        return Policy(name)
    every = _CALENDARS.get(name) or (int(rest) if kind == "every" and re.fullmatch(r"[1-9]\d{0,3}", rest) else None)
    if every is None:
        raise ConfigError(f"There is no policy '{name}'. Known: {KNOWN}.")
    return Policy(name, every=every, offset=offset % every)
