"""This file turns bench/soak.json into docs/reliability.md: what was tried, how often, and how it ended."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from include.settings import ROOT

PAGE = ROOT / "docs" / "reliability.md"

HEAD = """# What was killed, and what became of it

Written by `make soak` from [bench/soak.json](../bench/soak.json); every trial names date, machine and commit there.

**The rule**: any process may be killed at any moment. What is to be done is a ledger row; a task writes beside and moves, is keyed,
and does nothing twice; an event only wakes, and `sweep` wakes again what an event has missed, ever more seldom what keeps failing
([why](decisions/0001-an-event-is-only-a-wake-up.md)). Data are published in one commit
([why](decisions/0002-stage-audit-publish-in-one-commit.md)), and ledger transactions run one at a time
([why](decisions/0009-one-ledger-transaction-at-a-time.md)).

**What a crash can lose**: predictions the endpoint has answered and not yet written, at most one second of them
(`include/serving/capture.py`). Nothing else.
"""


def write_page(results: dict[str, Any]) -> None:
    """Write the page anew."""
    parts = [HEAD]
    if "kills" in results:
        parts.append(_kills(results["kills"], results["about"]["kills"]))
    if "cloud" in results:
        parts.append(_cloud(results["cloud"], results["about"]["cloud"]))
    if "fuzz" in results:
        parts.append(_fuzz(results["fuzz"], results["about"]["fuzz"]))
    if "events" in results:
        parts.append(_events(results["events"], results["about"]["events"]))
    if "rollout" in results:
        parts.append(_rollout(results["rollout"], results["about"]["rollout"]))
    if "year" in results:
        parts.append(_year(results["year"], results["about"]["year"]))
    PAGE.write_text("\n".join(parts))


def _kills(found: dict[str, Any], about: dict[str, str]) -> str:
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kill in found["kills"]:
        if kill["hit"]:
            seconds[kill["target"], kill["stage"]].append(kill["quiet_after"])
    targets = sorted({target for target, _ in seconds})
    stages = [
        stage for stage in ("ingest", "monitor", "train", "deploy") if any(place[1] == stage for place in seconds)
    ]
    rows = [[target, *(_cell(seconds[target, stage]) for stage in stages)] for target in targets]
    findings = [f"- {kind}: {each}" for kind, several in found["findings"].items() for each in several]
    return f"""## `kill -9` in running nights and trainings

{found["n"]} kills ({about["date"]}, {about["commit"]}, `python -m soak kills`), seed {found["seed"]}, drawn from the matrix of
13 tasks, 5 targets (the task, its supervisor, the scheduler, the endpoint, Spark Connect) and the moments begin, middle (a seeded
point) and end; {found["nights"]} nights were ingested and {found["trainings"]} models trained and deployed meanwhile, through a real
Airflow. Afterwards: **{found["lost"]} lost, {found["doubled"]} doubled, {found["disagree"]} disagreements of ledger, table, endpoint
and registry, {found["orphans"]} orphan files** that expiry does not remove. Rows are compared with an undisturbed run without
Airflow.

Kills, and the longest time until all was quiet again (heartbeat time-outs shortened to 10 s for the trial; see `soak/kills.py`):

{_table(["killed", *stages], rows)}

{chr(10).join(findings)}
"""


def _cell(seconds: list[float]) -> str:
    return f"{len(seconds)}, {max(seconds):.0f} s" if seconds else ""


def _cloud(found: dict[str, Any], about: dict[str, str]) -> str:
    platforms = {name: several for name, several in found.items() if name != "seed"}
    heads = ("crashes", "duplicates", "orphans", "lost", "jobs", "models", "minutes")
    rows = [[name, *(str(each[head]) for head in heads)] for name, each in platforms.items()]
    kinds = sorted({kind for each in platforms.values() for kind in each["by_kind"]})
    by_kind = [[kind, *(str(each["by_kind"].get(kind, "")) for each in platforms.values())] for kind in kinds]
    findings = [
        f"- {name}, {kind}: {each}"
        for name, several in platforms.items()
        for kind, listed in several["findings"].items()
        for each in listed
    ]
    return f"""## Crashes around jobs that cost money

Tries of the task `train` that died, and calls that failed, on each platform ({about["date"]}, {about["commit"]},
`python -m soak cloud`), seed {found["seed"]}. Clouds are stand-ins (`tests/cloud/`), the jobs behind them really run. A **duplicate** is
a job that ran beside another one of its request, or after one had made the model, by the platform's own book, not the ledger's. An
**orphan** is what still runs, or lies on the platform though its model is home, when `sweep` has been there. **Lost** is a model that
never came though its run was tried again.

{_table(["platform", *heads], rows)}

A task dies at a named point of its try or at any moment; of its supervisor's death nobody tells it, so that it goes on beside the next
try; `killed` is by a person; the network cuts, loses, throttles, refuses or breaks down:

{_table(["crash", *platforms], by_kind)}

{chr(10).join(findings)}
"""


def _rollout(found: dict[str, Any], about: dict[str, str]) -> str:
    return f"""## Versions swapped under load

{found["requests"]:,} requests to an endpoint of two processes ({about["date"]}, {about["commit"]}, `python -m soak rollout`,
{found["seconds"] / 60:.0f} minutes), while {found["swaps"]} releases were verified, shadowed, tried at 25 and 100 % and promoted,
{found["rollbacks"]} rolled back, and {found["worker_kills"]} of the processes killed in mid-canary: **{found["failed"]} failed**.
{found["broken_connections"]} connections of the killed process ended without an answer and were answered when asked again; of its
answers {found["answers_not_captured"]} were not captured, {found["captured_twice"]} twice. From the command until every process
answered as the old version: {found["rollback_seconds"]} s.
"""


def _fuzz(found: dict[str, Any], about: dict[str, str]) -> str:
    answers = ", ".join(f"{count:,} × {status}" for status, count in found["by_status"].items())
    return f"""## Requests nobody should send

{found["requests"]:,} fuzzed requests to a real endpoint ({about["date"]}, {about["commit"]}, `python -m soak fuzz`):
{found["http_5xx"]} answered with 5xx, {found["hangs"]} hung; {answers}. Memory {found["rss_mb_before"]} MB before,
{found["rss_mb_after"]} MB after.
"""


def _events(found: dict[str, Any], about: dict[str, str]) -> str:
    doors = {"queue": "by a Redis stream", "rest": "by REST", "lost": "filed with their wake-up lost"}
    listed = ", ".join(f"{found['by_door'].get(door, 0):,} {words}" for door, words in doors.items())
    killed = ", ".join(f"{name.partition(':')[2]} {count} times" for name, count in found["killed"].items())
    findings = [f"- {kind}: {each}" for kind, several in found["findings"].items() for each in several]
    return f"""## Events that ask for trainings

{found["injected"]:,} events ({about["date"]}, {about["commit"]}, `python -m soak events`, {found["minutes"]:.0f} minutes), seed
{found["seed"]}: {listed}. They were sent {found["sent"]:,} times in all, {found["wake_ups_repeated"]:,} wake-ups were
repeated, and killed with `kill -9` were: {killed}. **{found["lost"]} lost, {found["doubled"]} trained for twice.** Redis, triggerer,
scheduler, claims and the training's beginning are real; each training ends at once, as these pipelines have no data.

{chr(10).join(findings)}
"""


def _year(found: dict[str, Any], about: dict[str, str]) -> str:
    months = [f"{number:02}" for number in range(1, len(found["disk_mb_by_month"]) + 1)]
    sizes = [f"{size:.0f}" for size in found["disk_mb_by_month"]]
    return f"""## The disk of a simulated year

A year of `flight_delays` with a short retention ({about["date"]}, {about["commit"]}, `python -m soak year`), MB at the end of
each month ([what is kept how long](housekeeping.md)):

{_table(months, [sizes])}
"""


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(headings)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
