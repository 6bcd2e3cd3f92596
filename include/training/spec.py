"""This file says what one training is: everything it depends on, written down before it starts."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from include.errors import ConfigError
from include.partition import run_key_of
from include.pipeline import Training
from include.policy import RepairName
from include.settings import Settings, load_settings


class Spec(BaseModel):
    """One training run; the same spec on the same code gives the same model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: str
    request_id: str
    reason: str
    key: str
    date: str
    snapshot_id: str | None
    train_days: tuple[str, str]
    holdout_days: tuple[str, str]
    training: Training
    sample_rows: int
    folder: Path
    repair: RepairName = "retrain"
    base: Path | None = None  # the model that is recalibrated or put back


def model_folder(pipeline_name: str, request_id: str, settings: Settings | None = None) -> Path:
    """Return where the model of a request lies, or will lie."""
    return (settings or load_settings()).models / pipeline_name / run_key_of(request_id)


def read_spec(path: Path | str) -> Spec:
    """Read a spec.

    :raises ConfigError: if the file is missing or is not a spec.
    """
    try:
        return Spec.model_validate_json(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a training spec ({error}). Let `include.training.plan` write it.") from error
