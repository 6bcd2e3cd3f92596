"""This file says what is learned and how: the part of a pipeline that one training depends on."""

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from include.learning.metrics import TaskName
from include.policy import Days, Share
from include.strict import Strict

Framework = Literal["torch", "keras"]
Tunable = Literal["learning_rate", "weight_decay", "dropout", "hidden", "embedding_dim", "batch_size", "epochs"]
ScheduleName = Literal["one_cycle", "cosine", "constant"]


class Text(Strict):
    """A column of free text: its words are looked up in a list that training makes."""

    words: int = Field(5000, ge=1, description="How many words are known: the most frequent ones of the window.")
    length: int = Field(64, ge=1, description="How many words of a text are read; the others are left out.")


class Image(Strict):
    """A column of pictures: base64 of PNG, JPEG, WebP or BMP, or a JSON list of the pixels' values."""

    height: int = Field(ge=4, le=512, description="Pixels; an encoded picture of another size is resized.")
    width: int = Field(ge=4, le=512, description="Pixels.")
    channels: Literal[1, 3] = Field(1, description="1: shades of grey; 3: red, green, blue.")

    @property
    def size(self) -> int:
        """Return how many numbers a picture is: rows from above, in them pixels from the left, in them channels."""
        return self.height * self.width * self.channels


class Features(Strict):
    """The raw columns the model takes, by kind."""

    numeric: list[str] = Field(
        default_factory=list, description="Columns of numbers; missing ones are filled by the median, all are scaled."
    )
    categorical: list[str] = Field(
        default_factory=list, description="Columns of text; a value that training has not seen is one of its own."
    )
    text: dict[str, Text] = Field(default_factory=dict, description="Columns of free text, such as `comment: {}`.")
    image: dict[str, Image] = Field(
        default_factory=dict, description="Columns of pictures, such as `photo: {height: 32, width: 32}`."
    )

    @property
    def names(self) -> list[str]:
        """Return all feature columns in the model's order."""
        return [*self.numeric, *self.categorical, *self.text, *self.image]

    @property
    def tabular(self) -> "Features":
        """Return the numbers and categories among them."""
        return self.model_copy(update={"text": {}, "image": {}})

    @property
    def others(self) -> "Features":
        """Return those that are neither numbers nor categories."""
        return self.model_copy(update={"numeric": [], "categorical": []})

    @property
    def as_text(self) -> list[str]:
        """Return those that the clean table holds as text."""
        return [*self.categorical, *self.text, *self.image]


class Space(Strict):
    """Where a hyper-parameter is looked for: between two numbers, or among some choices."""

    low: int | float | None = Field(None, description="The least value; whole numbers at both ends: only whole ones.")
    high: int | float | None = Field(None, description="The greatest value.")
    log: bool = Field(False, description="Look as often between 1 and 10 as between 10 and 100.")
    choices: list[int | float | list[int]] | None = Field(None, min_length=1, description="The values there are.")

    @model_validator(mode="after")
    def _is_one_of_two(self) -> "Space":
        if (self.choices is None) != (self.low is not None and self.high is not None):
            raise ValueError("say either 'low' and 'high', or 'choices'")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"'low' is {self.low} and 'high' {self.high}: there is nothing between them")
        return self


class Tuning(Strict):
    """A search for better hyper-parameters before a training, where the trigger form asks for it."""

    trials: int = Field(12, ge=1, description="How many are tried.")
    at_once: int = Field(2, ge=1, description="How many of them at a time.")
    search: dict[Tunable, Space] = Field(min_length=1, description="Hyper-parameter: where to look for it.")

    @staticmethod
    def choice(text: str) -> Any:
        """Return a choice that was kept as text."""
        return json.loads(text)


class Training(Strict):
    """What is learned, on which window, and how."""

    target: str = Field(description="Column of the clean table to predict; rows where it is null are not used.")
    task: TaskName = Field(
        "binary",
        description="binary: how likely is it (target true or false, 1 or 0); multiclass: which class is it (target "
        "text or whole numbers); regression: how much is it (target a number).",
    )
    features: Features
    window_days: Days = Field(56, description="Days of training data before the hold-out.")
    holdout_days: Days = Field(14, description="Newest labelled days, kept out of training; they decide at the gate.")
    refit: bool = Field(
        True,
        description="Once judged on the hold-out, learn the same again from as many days up to the newest: the "
        "hold-out is no longer missing. It costs a second training.",
    )
    min_rows: int = Field(1000, ge=1, description="Fewest labelled rows for a training.")
    framework: Framework = Field("torch", description="torch: PyTorch; keras: Keras 3 on TensorFlow.")
    model: str | None = Field(
        None,
        pattern=r"^[\w.]+:\w+$",
        description="Function that makes the network, as `module:function`: see docs/training.md. None: "
        "`tabular_mlp`, or `mixed_mlp` where there are texts or pictures.",
    )
    accelerator: str = Field("cpu", description="Profile of config/accelerators.yaml: device, processes, price.")
    epochs: int = Field(6, ge=1, description="How often all rows are looked at.")
    batch_size: int | None = Field(None, ge=1, description="Rows a step; none: an epoch has about 100 steps.")
    learning_rate: float = Field(0.002, gt=0, description="Size of the optimiser's (AdamW) steps.")
    schedule: ScheduleName = Field(
        "one_cycle",
        description="How the size of steps changes: one_cycle (up, then down), cosine (down), constant.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Epochs without a lower loss on the newest tenth of the window's days, which is not learned from "
        "then, after which training stops and the best weights are taken; none: all epochs.",
    )
    class_weights: Literal["balanced"] | dict[str, float] | None = Field(
        None,
        description="How much a row of each class counts: balanced (rare ones more), or by class (binary: 'true' and "
        "'false'); none: all the same. Weighted answers are off in level until a recalibration.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: faster on GPUs and TPUs; weights and optimiser stay float32."
    )
    compile: bool = Field(False, description="Compile the network first: pays for large ones on a GPU.")
    checkpoint_seconds: float = Field(
        60, gt=0, description="A training that is killed loses at most so long, and goes on from there."
    )
    weight_decay: float = Field(1e-4, ge=0, description="How strongly weights are pulled towards nought.")
    hidden: list[int] = Field([64, 64], description="Width of each layer of the network.")
    embedding_dim: int = Field(8, ge=1, description="Numbers that stand for one category.")
    dropout: Share = Field(0.1, description="Share of each layer left out in a step, against learning by heart.")
    tuning: Tuning | None = Field(None, description="A search for better ones of these; none: there is none.")
    seed: int = Field(7, description="Of everything random in a training: the same seed and rows give the same model.")
