"""This file is what is noted about a request while it is worked on, for the refusals' counter and the access log."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from include.errors import Reason


@dataclass(slots=True)
class Visit:
    """One request, in the access log's fields. Nothing here may hold a payload, a token or a header."""

    method: str
    route: str | None = None  # the template: a path may hold anything
    pipeline: str = ""  # one that is served, or nothing
    key: str | None = None
    status: int | None = None
    reason: Reason | None = None
    rows: int | None = None
    bytes: int = 0
    version: int | None = None
    answer_id: str | None = None
    time: datetime | None = None  # when it was done with
    ms: float = 0.0

    def answered(self, version: int, answer_ids: list[str]) -> None:
        """Note who answered, and the first row's answer, by which the rest is found among the captured ones."""
        self.version, self.rows, self.answer_id = version, len(answer_ids), answer_ids[0]


def visit_of(request: Request) -> Visit:
    """Return what is noted about a request."""
    visit: Visit = request.scope["state"]["visit"]
    return visit
