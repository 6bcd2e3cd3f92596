"""This file declares the ledger's tables; whoever changes them adds a migration (`make migration m="…"`)."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from include.ledger.columns import JSON_VALUE, Moment, Words


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The ledger's schema."""

    type_annotation_map = {datetime: Moment(), str: Words(), dict[str, Any]: JSON_VALUE, list[str]: JSON_VALUE}


class Awaited:
    """What a row has that some stage is to take up: how often, and when last, `sweep` had to wake that stage for it."""

    woken: Mapped[int] = mapped_column(default=0, server_default="0")
    woken_at: Mapped[datetime | None]


class Partition(Base):
    """What the newest attempt made of one day: published, or refused and why."""

    __tablename__ = "partitions"

    pipeline: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]  # published | refused | expired
    rows: Mapped[int]
    labelled: Mapped[int] = mapped_column(default=0, server_default="0")  # rows whose outcome is known
    quarantined: Mapped[int]
    run_key: Mapped[str]
    report: Mapped[str]  # the validation's HTML page, relative to the lake
    note: Mapped[str] = mapped_column(default="")
    repaired: Mapped[int] = mapped_column(default=0)  # rows that a person mended and that are good now
    redeliveries: Mapped[int] = mapped_column(default=0)  # times another delivery of this day was taken
    at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Publication(Awaited, Base):
    """One ingest run's published days; its id is the key of the `features` event."""

    __tablename__ = "publications"

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str] = mapped_column(index=True)
    days: Mapped[list[str]]
    rows: Mapped[int]
    snapshot_id: Mapped[str]
    status: Mapped[str] = mapped_column(default="open")  # open | done
    at: Mapped[datetime] = mapped_column(default=now)


class Window(Base):
    """What monitoring measured on one served day, for the version that served it."""

    __tablename__ = "windows"

    pipeline: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    rows: Mapped[int]
    labelled: Mapped[int]
    drifted_share: Mapped[float | None]
    quality: Mapped[float | None]  # in the governor's metric
    measures: Mapped[dict[str, Any]]
    report: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Decision(Base):
    """What the governor said about one publication, and why."""

    __tablename__ = "decisions"

    publication_id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str] = mapped_column(index=True)
    action: Mapped[str]  # nothing | recalibrate | reinstate | retrain
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(default=now)


class Request(Awaited, Base):
    """A wish for a better model; its id is the key of the `retrain` event. Claimed by one run, ever."""

    __tablename__ = "requests"

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    triggered_by: Mapped[str]  # first | quality | drift | message | hand
    repair: Mapped[str] = mapped_column(default="retrain", server_default="retrain")  # | recalibrate | reinstate
    detail: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(default="open")  # open | claimed | done | failed
    claimed_by: Mapped[str | None]
    note: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(default=now)
    claimed_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]  # what the repair really gained on the days after, when they are known


class Release(Awaited, Base):
    """One trained version on its way: candidate → approved → promoting → champion → retired, or off it."""

    __tablename__ = "releases"
    __table_args__ = (
        UniqueConstraint("pipeline", "version"),
        # At most one champion per pipeline, whatever races: the database itself refuses a second.
        Index(
            "one_champion",
            "pipeline",
            unique=True,
            sqlite_where=text("status = 'champion'"),
            postgresql_where=text("status = 'champion'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # <pipeline>.v<version>; the key of the `model` event
    pipeline: Mapped[str]
    version: Mapped[int]
    request_id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="candidate")  # … | rejected | failed | rolled_back | removed
    model_uri: Mapped[str]  # folder with model.onnx and manifest.json
    sha256: Mapped[str]
    tracking_run: Mapped[str]
    judged_until: Mapped[str]  # newest day it was trained or judged on
    quality: Mapped[float]  # on its own hold-out, in the gate's metric
    metrics: Mapped[dict[str, Any]]
    gate: Mapped[dict[str, Any]]
    compared_with: Mapped[int | None]  # the champion's version the gate compared with
    rollout: Mapped[dict[str, Any] | None]  # what was seen of it before and while it was tried beside the champion
    fence: Mapped[int | None]  # generation of the endpoint's state that this release was put forward with
    at: Mapped[datetime] = mapped_column(default=now)
    serving_at: Mapped[datetime | None]
    note: Mapped[str] = mapped_column(default="")


class Pause(Base):
    """A person's word that no model is to change by itself, in one pipeline or in all (`*`), until it is taken back."""

    __tablename__ = "pauses"
    __table_args__ = (
        # At most one that holds for the same pipelines, whoever asks at the same moment.
        Index(
            "one_pause",
            "pipeline",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    reason: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class Alert(Base):
    """What people are to be told, once; its id says what it is about."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(primary_key=True)  # <kind>.<id of the row it is about>
    pipeline: Mapped[str] = mapped_column(index=True)  # empty where it is about none
    kind: Mapped[str]
    text: Mapped[str]
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=now)
    told_at: Mapped[datetime | None]


class Attempt(Base):
    """One attempt at a request's training: a job on a platform, open until it was seen to have ended."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("request_id", "attempt"),
        # At most one that may be running, and be paid for, whatever races.
        Index(
            "one_open_job",
            "request_id",
            unique=True,
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
    )

    name: Mapped[str] = mapped_column(primary_key=True)  # what the platform knows the job by
    pipeline: Mapped[str] = mapped_column(index=True)
    request_id: Mapped[str]
    platform: Mapped[str]
    attempt: Mapped[int]
    accelerator: Mapped[str]
    is_spot: Mapped[bool]
    status: Mapped[str] = mapped_column(default="open")  # | succeeded | interrupted | stopped | refused | failed | gone
    lease_until: Mapped[datetime]
    price_per_hour: Mapped[float]
    estimate: Mapped[float]  # money, in the currency that config/accelerators.yaml counts in
    cost: Mapped[float | None]  # money, once it has ended
    seconds: Mapped[float | None]  # that were paid for
    reason: Mapped[str] = mapped_column(default="")
    detail: Mapped[dict[str, Any]]  # what the platform needs besides the name to find it again
    at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
