"""This file asks people where the YAML wants a person's word, and keeps who has answered what, when and why."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.orm import Session

from include.ledger import Release, Request, nights, open_ledger, releases, requests
from include.ledger.tables import now
from include.pipeline import Pipeline

Kind = Literal["review", "approval"]
OPTIONS: dict[Kind, tuple[str, str]] = {
    "review": ("Train", "Do not train"),
    "approval": ("Release", "Do not release"),
}
NEWEST_TRAININGS = 5


@dataclass(frozen=True)
class Question:
    """What a person is to be asked, or has been and has not answered yet: when, and in which run."""

    subject: str
    body: str
    asked_at: datetime
    asked_in: str


@dataclass(frozen=True)
class Answer:
    """What a person has said, or what silence means: then it is by nobody."""

    option: str
    by: str | None
    at: datetime
    note: str = ""

    def __str__(self) -> str:
        who = f"{self.by} said" if self.by else "Nobody answered in time, which means"
        return f"{who} '{self.option}' ({self.at:%Y-%m-%d %H:%M} UTC){f': {self.note}' if self.note else '.'}"


def asks(pipeline: Pipeline, kind: Kind) -> bool:
    """Return whether a pipeline ever asks such a question."""
    return bool(pipeline.people.review) if kind == "review" else pipeline.people.approval == "human"


def default_option(pipeline: Pipeline, kind: Kind) -> str:
    """Return what silence means."""
    return OPTIONS[kind][pipeline.people.on_timeout == "refuse"]


def question(pipeline: Pipeline, kind: Kind, about: str, base_url: str = "") -> Question | None:
    """Return what a person is to be asked about a request or release; None if nothing, or it was answered.

    :param about: a request's id (review) or a release's (approval).
    :param base_url: where Airflow's UI is, for links to reports.
    """
    with open_ledger() as session:
        if kind == "review":
            request = session.get_one(Request, about)
            is_asked = request.triggered_by in pipeline.people.review and request.repair == "retrain"
            said, text = request.detail.get("review", {}), _review_body(session, pipeline, request, base_url)
        else:
            release = releases.get_release(session, about)
            is_asked = release.status == "approved"
            said, text = release.gate.get("approval", {}), _approval_body(session, pipeline, release, base_url)
        if not is_asked or "answer" in said:
            return None
    subject = f"Train a new model of {pipeline.name}?" if kind == "review" else f"Let {about} take traffic?"
    asked_at = datetime.fromisoformat(said["asked_at"]) if said else now()
    return Question(subject, text, asked_at, said.get("asked_in", ""))


def note_asked(kind: Kind, about: str, run_id: str) -> None:
    """Note that a person has been asked, now and in this run."""
    with open_ledger() as session:
        _keep(session, kind, about, asked_at=now().isoformat(), asked_in=run_id)


def record(kind: Kind, about: str, answer: Answer) -> None:
    """Keep an answer; a refusal closes the request, or rejects the release."""
    with open_ledger() as session:
        _keep(session, kind, about, answer=answer.option, by=answer.by, at=answer.at.isoformat(), note=answer.note)
        if answer.option != OPTIONS[kind][0]:
            why = str(answer)
            if kind == "review":
                requests.close_request(session, about, status="failed", note=why)
            else:
                releases.refuse(session, about, note=why)


def refusal(about: str) -> str | None:
    """Return why a reviewed request is not to be trained for; None if it is."""
    with open_ledger() as session:
        request = session.get_one(Request, about)
    return None if request.status == "claimed" else f"{about} is {request.status}: {request.note}"


def is_refused(request: Request) -> bool:
    """Return whether a person has refused a request."""
    return bool(request.detail.get("review", {}).get("answer") == OPTIONS["review"][1])


def waits_for_approval(pipeline: Pipeline, release: Release) -> bool:
    """Return whether a release that passed the gate may not take traffic by itself yet."""
    said = release.gate.get("approval", {})
    return pipeline.people.approval == "human" and said.get("answer") != OPTIONS["approval"][0]


def _keep(session: Session, kind: Kind, about: str, **said: Any) -> None:
    (requests.keep_review if kind == "review" else releases.keep_approval)(session, about, **said)


def _review_body(session: Session, pipeline: Pipeline, request: Request, base_url: str) -> str:
    return "\n\n".join(
        [
            f"**{request.triggered_by}** asks for it: {request.reason}",
            f"**What it costs**: {_cost(requests.training_seconds(session, pipeline.name, newest=NEWEST_TRAININGS))}",
            _reports(session, pipeline.name, base_url),
            f"No answer in {pipeline.people.timeout_hours:g} hours means: {default_option(pipeline, 'review')}.",
        ]
    )


def _approval_body(session: Session, pipeline: Pipeline, release: Release, base_url: str) -> str:
    request = session.get_one(Request, release.request_id)
    return "\n\n".join(
        [
            f"**The gate**: {release.gate.get('reason', release.note)}",
            _gate_table(release.gate),
            f"**Asked for by {request.triggered_by}**: {request.reason}",
            _reports(session, release.pipeline, base_url),
            f"No answer in {pipeline.people.timeout_hours:g} hours means: {default_option(pipeline, 'approval')}.",
        ]
    )


def _gate_table(gate: Mapping[str, Any]) -> str:
    interval = gate.get("interval")
    rows = {
        "metric": gate.get("metric"),
        "challenger": _number(gate.get("challenger")),
        "champion": _number(gate.get("champion")),
        "gain": _number(gate.get("gain")) + (f" ({interval[0]:+.4f} to {interval[1]:+.4f})" if interval else ""),
        "days, rows": f"{gate.get('days')}, {gate.get('rows')}",
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _cost(seconds: list[float]) -> str:
    if not seconds:
        return "not known yet; no training has ended here."
    return f"about {statistics.median(seconds):.0f} s on this machine (median of the last {len(seconds)} trainings)."


def _reports(session: Session, name: str, base_url: str) -> str:
    page = f"[why, with all numbers]({base_url}/evergreen/why/{name})"
    measured = [window for window in nights.windows_of(session, name) if window.report]
    if not measured:
        return f"**Read**: {page}"
    return f"**Read**: {page}, [drift on {measured[-1].day}]({base_url}/evergreen/reports/{measured[-1].report})"
