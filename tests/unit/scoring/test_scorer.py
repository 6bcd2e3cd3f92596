import pytest

from include.errors import ArtefactError, StaleReleaseError
from include.ledger import Release, open_ledger, releases
from include.scoring.scorer import choose, scorer_of

KNOWN = [Release(version=version, status=status) for version, status in ((3, "approved"), (2, "champion"))]
GONE = [*KNOWN, Release(version=1, status="removed")]


@pytest.mark.parametrize(("version", "chosen"), [(None, 2), (2, 2), (3, 3)])
def test_the_champion_answers_unless_another_version_is_named(version, chosen):
    assert choose(KNOWN, "rides", version).version == chosen


@pytest.mark.parametrize(
    ("known", "version", "message"),
    [
        ([], None, "'rides' has no champion. Releases: none. Train and deploy a model first."),
        (KNOWN[:1], None, r"no champion. Releases: v3 approved. Name one of these versions, or train and deploy"),
        (KNOWN, 9, "'rides' has no version 9. Releases: v3 approved, v2 champion"),
        (GONE, 1, r"Version 1 of 'rides' scores no more: its model was removed \(`retention.models_days`\)"),
    ],
)
def test_where_no_model_can_answer_it_says_which_there_are(known, version, message):
    with pytest.raises(StaleReleaseError, match=message):
        choose(known, "rides", version)


def test_what_is_shipped_is_the_graph_that_was_registered_and_nothing_else_is_read(rides, approve, settings):
    approve()
    model = settings.models / "rides" / "m1" / "model.onnx"

    scorer = scorer_of(rides, 1)

    assert scorer.content == model.read_bytes()
    assert scorer.columns == ["ride_id", "day", "distance", "carrier"]
    model.write_bytes(b"another")
    with pytest.raises(ArtefactError, match="sha256 is .* The file was altered"):
        scorer_of(rides, 1)


def test_a_model_whose_files_are_gone_is_named(rides, approve):
    approve()
    with open_ledger() as session:
        releases.get_release(session, "rides.v1").model_uri = "/nowhere"

    with pytest.raises(ArtefactError, match=r"/nowhere/manifest\.json: no readable manifest"):
        scorer_of(rides, 1)
