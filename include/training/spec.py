"""This file says what one training is: everything it depends on, written down before it starts."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from include.accelerators import Accelerator
from include.errors import ConfigError
from include.partition import run_key_of
from include.policy import RepairName
from include.recipe import Training
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
    accelerator: Accelerator = Accelerator()
    rows: Path | None = None  # a folder of Parquet files with the clean rows; none: they are read from the lake
    checkpoints: str | None = None  # where the training's state is kept, any URI of fsspec; none: in the scratch folder

    @property
    def work(self) -> Path:
        """Return the folder of all that belongs to the training and not to the model: spec, output, how it ended."""
        return work_folder(self.folder)

    @property
    def scratch(self) -> Path:
        """Return the folder for what is needed until the model is there; a training that goes on finds it again."""
        return self.work / self.fingerprint

    @property
    def fingerprint(self) -> str:
        """Return what tells this spec's rows and recipe from others'."""
        told = self.model_dump_json(include={"snapshot_id", "train_days", "holdout_days", "training", "accelerator"})
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def model_folder(pipeline_name: str, request_id: str, settings: Settings | None = None) -> Path:
    """Return where the model of a request lies, or will lie."""
    return (settings or load_settings()).models / pipeline_name / run_key_of(request_id)


def work_folder(model: Path) -> Path:
    """Return the folder of the training that a model's folder is made by."""
    return model.with_name(f"{model.name}.training")


def read_spec(path: Path | str) -> Spec:
    """Read a spec.

    :raises ConfigError: if the file is missing or is not a spec.
    """
    try:
        return parse_spec(Path(path).read_text(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: not readable ({error}). Let `include.training.plan` write it.") from error


def parse_spec(text: str, where: str) -> Spec:
    """Return the spec that a text holds.

    :raises ConfigError: if it is not a spec.
    """
    try:
        return Spec.model_validate_json(text)
    except ValueError as error:
        raise ConfigError(f"{where}: not a training spec ({error}). Let `include.training.plan` write it.") from error
