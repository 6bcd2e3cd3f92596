"""A process in which only an image's packages can be imported: python images.py train|serve, in the root folder."""

import re
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, ClassVar


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class There(PathFinder):
    """Finds nothing of the packages that are installed here and would not be in the image."""

    absent: ClassVar[set[str]] = set()

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        return None if name.partition(".")[0] in cls.absent else super().find_spec(name, path, target)


def absent_in(image: str) -> set[str]:
    lines = Path(f"requirements-{image}.txt").read_text().splitlines()
    there = {normal(line.partition("==")[0].partition("[")[0]) for line in lines if "==" in line}
    owners = packages_distributions()
    return {name for name, found in owners.items() if not {normal(each) for each in found} & there} - {"include"}


def main(image: str) -> None:
    There.absent = absent_in(image)
    assert "airflow" in There.absent
    sys.meta_path[:] = [There if finder is PathFinder else finder for finder in sys.meta_path]
    folder = {"train": "training", "serve": "serving"}[image]
    for path in sorted(Path("include", folder).glob("*.py")):
        if path.stem != "__main__":
            import_module(f"include.{folder}.{path.stem}")
    if image == "train":
        import_module("include.repairs.remaking")
        training = import_module("include.training.__main__")
        sys.exit(training.main([]))
    import_module("include.platforms.storage")  # for a model in an object store
    import_module("include.serving.__main__")


if __name__ == "__main__":
    main(sys.argv[1])
