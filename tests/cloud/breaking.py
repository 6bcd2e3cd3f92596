"""A network that cannot be built, for no fault of data or settings."""

import os
from typing import Any

from include.training import models


def explode(*_: Any, **__: Any) -> None:
    raise RuntimeError("CUDA out of memory, or so")


def explode_on_the_second(layout: Any, *given: Any) -> Any:
    if os.environ["EVERGREEN_NODE"] == "1":
        raise RuntimeError("the second machine has no disk left, or so")
    return getattr(models, layout.usual_model)(layout, *given)
