import pyarrow.parquet as pq
import pytest

from include import artefact, verification
from include.errors import ArtefactError


def test_a_sound_release_is_verified(approve):
    verification.verify(approve())


def test_an_altered_model_is_refused(approve, settings):
    release_id = approve()
    path = settings.models / "rides" / "m1" / artefact.MODEL
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(ArtefactError, match="sha256"):
        verification.verify(release_id)


@pytest.mark.parametrize("wrong", [0.5, float("nan")])
def test_a_model_that_does_not_reproduce_its_predictions_is_refused(approve, settings, wrong):
    release_id = approve()
    path = settings.models / "rides" / "m1" / artefact.HOLDOUT
    frame = pq.read_table(path).to_pandas()
    frame.loc[17, "prediction"] = wrong
    frame.to_parquet(path)

    with pytest.raises(ArtefactError, match="1 of 500 predictions differ.*row 17"):
        verification.verify(release_id)


def test_a_release_without_recorded_predictions_is_refused(approve, settings):
    release_id = approve()
    (settings.models / "rides" / "m1" / artefact.HOLDOUT).unlink()

    with pytest.raises(ArtefactError, match="no recorded predictions"):
        verification.verify(release_id)
