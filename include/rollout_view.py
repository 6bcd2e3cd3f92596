"""This file tells in words and as a table what was seen of releases before and while they were tried."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from include.deployment import steps_of
from include.ledger import Release
from include.policy import Rollout


def rollout_table(known: Iterable[Release]) -> Table:
    """Return a table of every step of these releases."""
    table = Table(Column("rollout", overflow="fold"), "step", "asked", "failed", "p99", "verdict", box=None)
    for release in known:
        for row in _rows(release.rollout or {}):
            table.add_row(release.id, *(escape(str(cell)) for cell in row))
    return table


def under_way(release: Release, policy: Rollout) -> str:
    """Return how far a release's rollout has come; empty if it is not being tried."""
    notes = release.rollout or {}
    if release.status != "promoting" or release.serving_at is not None or not notes.get("fence"):
        return ""
    began = datetime.fromisoformat(notes["began_at"])
    number, shares = notes["step"], steps_of(policy)
    told = f"version {release.version} is tried beside it since {began:%Y-%m-%d %H:%M} UTC"
    if number >= len(shares):  # the YAML has fewer steps than when this one began
        return told
    answers = f"{shares[number]:.0%} of the requests" if shares[number] else "copies of the requests"
    return f"{told} and answers {answers} (step {number + 1} of {len(shares)})"


def _rows(notes: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    if verified := notes.get("verified"):
        said = f"answers as in training; 95 of 100 within {verified['p95_ms']:g} ms, one at a time"
        yield "by itself", verified["rows"], verified["refused"], "", said
    if (replay := notes.get("replay")) and replay["rows"]:
        apart = (
            "too few to compare" if replay["shift"] is None else f"{replay['shift']:.2f} from the champion's answers"
        )
        said = f"{apart}; {replay['differ']:.0%} of them clearly others"
        yield "replay", replay["rows"], replay["refused"], "", said
    for step in notes.get("steps", []):
        tried, usual = step["challenger"], step["champion"]
        p99 = "" if tried["p99_ms"] is None else f"{tried['p99_ms']:.1f} ms"
        beside = "" if usual["p99_ms"] is None or not p99 else f" (champion {usual['p99_ms']:.1f})"
        share = f"{step['share']:.0%}" if step["share"] else "copies"
        decision = {"go_on": "went on", "roll_back": "sent back"}[step["decision"]]
        yield share, tried["answered"], tried["failed"], p99 + beside, f"{decision}: {step['reason']}"
