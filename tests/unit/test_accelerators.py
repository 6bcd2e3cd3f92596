from pathlib import Path

import pytest

from include import accelerators
from include.accelerators import accelerator_named
from include.config import load_pipelines
from include.errors import ConfigError
from include.settings import ROOT


def test_the_shipped_pipelines_name_profiles_that_there_are() -> None:
    for pipeline in load_pipelines(ROOT / "config" / "pipelines"):
        assert accelerator_named(pipeline.training.accelerator).processes >= 1


def test_a_mistyped_profile_is_guessed() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'cdua'\. Profiles there: cpu, .*Did you mean 'cuda'\?"):
        accelerator_named("cdua")


@pytest.mark.parametrize("text", ["cpu: {device: gpu}", "cpu: {prcesses: 2}", "- cpu", "cpu: [", "cpu: {threads: 0}"])
def test_a_file_that_is_no_list_of_profiles_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "accelerators.yaml").write_text(text)
    monkeypatch.setattr(accelerators, "PROFILES", tmp_path / "accelerators.yaml")

    with pytest.raises(ConfigError, match=r"accelerators\.yaml: not readable as accelerator profiles"):
        accelerator_named("cpu")
