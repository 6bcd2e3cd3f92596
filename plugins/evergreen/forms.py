"""This file is what the trigger form of `train` asks, with the YAML's values as they are."""

from airflow.sdk import Param

from include.accelerators import accelerators
from include.pipeline import Pipeline


def training_form(pipeline: Pipeline) -> dict[str, Param]:
    """Return the fields of the form."""
    training, tuning = pipeline.training, pipeline.training.tuning
    form = {
        "reason": Param("Started by hand", type="string", minLength=3, description="Why; kept with the model."),
        "window_days": Param(
            training.window_days, type="integer", minimum=1, description="Days of data to learn from."
        ),
        "epochs": Param(training.epochs, type="integer", minimum=1, description="Passes over these data."),
        "accelerator": Param(
            training.accelerator, type="string", enum=list(accelerators()), description="What it runs on: a profile."
        ),
    }
    if tuning:
        about = f"Look for better settings first: {tuning.trials} trials of {', '.join(tuning.search)}, on the worker."
        form["tune"] = Param(False, type="boolean", description=about)
    force = Param(False, type="boolean", description="Train although another request is on its way.")
    return {**form, "force": force}
