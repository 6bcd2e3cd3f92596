"""The errors Evergreen raises by name: each message says what was found, where, what was expected and what to do.

A ValueError is for people to mend: tasks are not tried again. A RuntimeError may be gone at the next try.
"""

from collections.abc import Mapping
from typing import Literal


class ConfigError(ValueError):
    """A setting or a pipeline's YAML is not usable."""


class DeliveryMissingError(ValueError):
    """A partition's delivery is not in the landing zone (yet)."""


class BadDeliveryError(ValueError):
    """A delivery cannot be read as the pipeline's YAML describes it."""


class SourceUnavailableError(RuntimeError):
    """The place a delivery comes from does not answer, or not now."""


class BadMessageError(ValueError):
    """A message from a queue asks for nothing that can be done."""


class DiskFullError(RuntimeError):
    """There is no room to write a file."""


class SchemaChangeError(ValueError):
    """A column changed in a way that the published table cannot follow."""


class PublishError(RuntimeError):
    """What stands in the table after a publish is not what was staged."""


class NotEnoughDataError(ValueError):
    """A window holds too few labelled rows to train or judge a model."""


class BadTrainingInputError(ValueError):
    """The training process refused its data or settings."""


class AlreadyOnItsWayError(ValueError):
    """A new model was asked for by hand while another request is being worked on."""


class TrainingFailedError(RuntimeError):
    """The training process ended without a model."""


class TrainingInterruptedError(RuntimeError):
    """A training was asked to end and has saved its state: the next try goes on from there."""


class PlatformError(RuntimeError):
    """A platform's API did not do what it was asked, this time."""


class PlatformRefusedError(ValueError):
    """A platform will not do what it was asked, however often: says which permission, quota or setting is missing."""


class BudgetError(ValueError):
    """A training would cost more than its pipeline may spend this month; nothing was started."""


class ArtefactError(ValueError):
    """A model file is missing, altered, or does not reproduce its recorded predictions."""


class StaleReleaseError(ValueError):
    """A release was compared with a champion that is no longer the champion, or is in the wrong state."""


class RolloutError(ValueError):
    """A release did worse than the champion while it was tried beside it; the champion answers alone again."""


class EndpointError(RuntimeError):
    """The endpoint did not acknowledge the declared state in time."""


class SchemaError(ValueError):
    """The ledger's database is of a kind or a schema that this code cannot work with."""


class BackupError(ValueError):
    """A backup cannot be made or restored as things stand; nothing was changed."""


class AlertError(RuntimeError):
    """An alert could not be sent; it waits."""


class StackError(RuntimeError):
    """A local service could not be started or died."""


class ErasureError(RuntimeError):
    """A subject that was to be erased is still there."""


class BadValueError(ValueError):
    """A value of a column that no model can take: says which column and which row."""

    def __init__(self, message: str, *, field: str, row: int) -> None:
        super().__init__(message)
        self.field = field
        self.row = row


# Why the endpoint refuses a request: what its counter and its access log say, described in docs/endpoint.md.
Reason = Literal[
    "no_key",
    "bad_key",
    "forbidden",
    "rate",
    "body_size",
    "body_time",
    "body_kind",
    "body_cut",
    "not_json",
    "not_arrow",
    "rows",
    "bad_field",
    "unknown_pipeline",
    "no_page",
    "busy",
    "compute_time",
    "unavailable",
]
_REASONS: dict[int, Reason] = {404: "unknown_pipeline", 503: "unavailable"}  # where the status says it all


class BadRequestError(ValueError):
    """A request to the endpoint that is refused: says the HTTP status, the reason, and which field of which row."""

    def __init__(  # noqa: PLR0913  one for each thing that a refusal says
        self,
        message: str,
        *,
        status: int = 422,
        reason: Reason | None = None,
        field: str | None = None,
        row: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason: Reason = reason or _REASONS.get(status, "bad_field")
        self.field = field
        self.row = row
        self.headers = headers
