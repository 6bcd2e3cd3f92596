"""This file asks the endpoint everything it should not be asked: each answer is right, or a refusal in words."""

import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from include.pipeline import Pipeline
from soak.endpoint import Endpoint, serving

REQUESTS, WARM_UP, AT_ONCE = 20_000, 2_000, 1_000
HANG_SECONDS = 20.0
JSON = {"content-type": "application/json"}
_DIGITS = "9" * 5_000  # Python itself refuses to write so long a number


@dataclass(frozen=True)
class Asked:
    """One request, and what is known about its answer."""

    body: bytes
    path: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    statuses: frozenset[int] | None = None  # any answer or refusal, if not given
    field: str | None = None
    row: int | None = None


class WrongAnswerError(AssertionError):
    """The endpoint answered otherwise than it should."""


def requests_to(pipeline: Pipeline) -> st.SearchStrategy[Asked]:
    """Return requests of every kind: sound ones, sound ones with one thing wrong, and noise."""
    path = f"/invocations/{pipeline.name}"
    features = pipeline.training.features
    numbers = st.none() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6, allow_nan=False)
    texts = st.none() | st.sampled_from(["A", "B", "", "unknown"]) | st.text(st.characters(codec="utf-8"), max_size=20)
    row = st.fixed_dictionaries(
        {**dict.fromkeys(features.numeric, numbers), **dict.fromkeys(features.categorical, texts)},
        optional={
            pipeline.key: st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.integers(0, 10**9),
            pipeline.date: st.sampled_from(["2013-07-22", "2013-07-23", None]),
            "ignored": st.integers(),
        },
    )
    rows = st.lists(row, min_size=1, max_size=4)
    sound = rows.map(lambda found: Asked(_body(found), path, statuses=frozenset({200})))
    kinds = [
        sound,
        _with_a_wrong_field(rows, pipeline, path),
        _with_a_wrong_field(rows, pipeline, path),
        _with_a_doubled_field(rows, pipeline, path),
        _with_a_wrong_frame(sound),
        _noise(sound, path),
    ]
    # Not `one_of`: it would make one flat list of all there is, where sound requests are rare.
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def _with_a_wrong_field(rows: st.SearchStrategy[Any], pipeline: Pipeline, path: str) -> st.SearchStrategy[Asked]:
    missing, huge = object(), object()
    structures = [True, [], [1], {}, {"a": 1}]
    no_numbers = [missing, "1", "", float("nan"), float("inf"), -float("inf"), 1e39, 10**40, huge, *structures]
    no_texts = [missing, 7, 1.5, "\ud800", "a\udfff", float("nan"), *structures]
    wrong = [(name, value) for name in pipeline.training.features.numeric for value in no_numbers]
    wrong += [(name, value) for name in pipeline.training.features.categorical for value in no_texts]
    wrong += [(pipeline.date, value) for value in ("2013-02-30", "20130722", "../..", "\ud800", 7, [], True)]
    wrong += [(pipeline.key, value) for value in ("", 1.5, "\ud800", 2**70, huge, [], {}, False)]

    def spoil(found: list[dict[str, Any]], number: int, change: tuple[str, Any]) -> Asked:
        number %= len(found)
        name, value = change
        texts = [json.dumps(row) for row in found]
        changed = json.dumps({key: each for key, each in found[number].items() if key != name})
        if value is not missing:
            written = _DIGITS if value is huge else json.dumps(value)
            changed = f"{changed[:-1]}, {json.dumps(name)}: {written}}}"
        texts[number] = changed
        body = f'{{"instances": [{", ".join(texts)}]}}'.encode()
        return Asked(body, path, statuses=frozenset({422}), field=name, row=number)

    return st.builds(spoil, rows, st.integers(0, 3), st.sampled_from(wrong))


def _with_a_doubled_field(rows: st.SearchStrategy[Any], pipeline: Pipeline, path: str) -> st.SearchStrategy[Asked]:
    def double(found: list[dict[str, Any]], name: str) -> Asked:
        texts = [json.dumps(row) for row in found]
        texts[-1] = f"{{{json.dumps(name)}: null, {texts[-1][1:]}"
        body = f'{{"instances": [{", ".join(texts)}]}}'.encode()
        return Asked(body, path, statuses=frozenset({422}), field=name, row=len(found) - 1)

    return st.builds(double, rows, st.sampled_from(pipeline.training.features.names))


def _with_a_wrong_frame(sound: st.SearchStrategy[Asked]) -> st.SearchStrategy[Asked]:
    def refused(status: int, **changes: Any) -> Any:
        return lambda asked: replace(asked, statuses=frozenset({status}), **changes)

    instances = [b"[]", b"{}", b'{"instances": []}', b'{"instances": {}}', b'{"instances": null}', b"null", b'"a"']
    kinds = ["text/plain", "text/csv", "application/xml", "multipart/form-data; boundary=x", ""]
    paths = ["/invocations/flight_delay", "/invocations/%ff%00", "/invocations/a%2fb", "/nowhere", f"/{'x' * 2000}"]
    return st.one_of(
        *(sound.map(refused(400, body=body)) for body in instances),
        *(sound.map(refused(415, headers={"content-type": kind})) for kind in kinds),
        *(sound.map(refused(415, headers={**JSON, "content-encoding": coding})) for coding in ("gzip", "br")),
        *(sound.map(refused(404, path=path)) for path in paths),
        *(sound.map(refused(405, method=method)) for method in ("GET", "PUT", "PATCH", "DELETE")),
        st.builds(
            lambda asked, share: replace(
                asked, body=asked.body[: int(len(asked.body) * share)], statuses=frozenset({400})
            ),
            sound,
            st.floats(0, 0.999),
        ),
        st.builds(
            lambda asked, depth, mark: replace(asked, body=mark * depth, statuses=frozenset({400})),
            sound,
            st.integers(1, 200_000),
            st.sampled_from([b"[", b'{"instances":', b'[{"a":']),
        ),
    )


def _noise(sound: st.SearchStrategy[Asked], path: str) -> st.SearchStrategy[Asked]:
    def flip(asked: Asked, place: int, byte: int) -> Asked:
        body = bytearray(asked.body)
        body[place % len(body)] = byte
        return replace(asked, body=bytes(body), statuses=None)

    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
    return st.one_of(
        st.builds(flip, sound, st.integers(0, 10**6), st.integers(0, 255)),
        st.binary(max_size=2_000).map(lambda body: Asked(body, path)),
        anything.map(lambda value: Asked(json.dumps(value).encode(), path)),
        st.lists(anything, max_size=3).map(lambda value: Asked(_body(value), path)),
    )


def too_many_rows(pipeline: Pipeline, number: int = 100_000) -> Asked:
    """Return a request of more rows than are taken, small enough in bytes to be read."""
    return Asked(_body([{}] * number), f"/invocations/{pipeline.name}", statuses=frozenset({413}), field="instances")


def ask(client: httpx.Client, asked: Asked) -> int:
    """Send one request, hold the answer against what it should be, and return its status.

    :raises WrongAnswerError: if it is a 5xx, no JSON, or another answer than is known to be right.
    """
    answer = client.request(asked.method, asked.path, content=asked.body, headers=asked.headers)
    found = f"{answer.status_code} {answer.text[:300]} to {asked.method} {asked.path[:100]} {asked.body[:300]!r}"
    if not (answer.status_code == 200 or 400 <= answer.status_code < 500):
        raise WrongAnswerError(f"Neither an answer nor a refusal: {found}")
    if asked.statuses and answer.status_code not in asked.statuses:
        raise WrongAnswerError(f"Expected {sorted(asked.statuses)}, found {found}")
    content = json.loads(answer.content, parse_constant=_no_json)
    if answer.status_code != 200 and not content["error"]:
        raise WrongAnswerError(f"A refusal without words: {found}")
    if asked.field and (content["field"], content["row"]) != (asked.field, asked.row):
        raise WrongAnswerError(f"Expected field {asked.field!r} of row {asked.row}, found {found}")
    return answer.status_code


def drive(endpoint: Endpoint, number: int, *, first_seed: int = 0) -> Counter[str]:
    """Send that many requests at least, and count the answers by status; those not there in time as `hangs`."""
    counts: Counter[str] = Counter()
    with httpx.Client(base_url=endpoint.url, timeout=HANG_SECONDS, trust_env=False) as client:
        while (left := number - counts.total()) > 0:
            _drive(client, requests_to(endpoint.pipeline), min(left, AT_ONCE), first_seed + counts.total(), counts)
    return counts


def _drive(
    client: httpx.Client, strategy: st.SearchStrategy[Asked], number: int, first_seed: int, counts: Counter[str]
) -> None:
    @seed(first_seed)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(strategy)
    def ask_one(asked: Asked) -> None:
        try:
            counts[str(ask(client, asked))] += 1
        except httpx.TimeoutException:
            counts["hangs"] += 1

    ask_one()


def measure() -> dict[str, Any]:
    """Send 20,000 requests after a warm-up; return how they ended, and the server's memory before and after.

    :raises WrongAnswerError: naming the request that was answered otherwise than it should.
    """
    with tempfile.TemporaryDirectory(prefix="evergreen-fuzz-") as folder, serving(Path(folder)) as endpoint:
        # The first sight of a 100,000-row body, and of anything else, takes memory that is kept: it is no growth.
        with httpx.Client(base_url=endpoint.url, timeout=HANG_SECONDS, trust_env=False) as client:
            counts = Counter({str(ask(client, too_many_rows(endpoint.pipeline))): 1})
        drive(endpoint, WARM_UP)
        rss_mb, started = [endpoint.rss_mb], time.perf_counter()
        while counts.total() < REQUESTS:
            counts += drive(endpoint, REQUESTS // 4, first_seed=WARM_UP + counts.total())
            rss_mb.append(endpoint.rss_mb)
        seconds = time.perf_counter() - started
        return {
            "requests": counts.total(),
            "http_5xx": sum(count for status, count in counts.items() if status.startswith("5")),
            "hangs": counts["hangs"],
            "rss_mb_before": rss_mb[0],
            "rss_mb_after": rss_mb[-1],
            "rss_mb_by_quarter": rss_mb,
            "seconds": round(seconds, 1),
            "by_status": dict(sorted(counts.items())),
        }


def _body(rows: list[Any]) -> bytes:
    return json.dumps({"instances": rows}).encode()


def _no_json(name: str) -> Any:
    raise WrongAnswerError(f"{name} is not JSON, but the endpoint answered with it.")
