import pytest
from airflow.sdk.exceptions import AirflowSkipException
from evergreen.operators.train import TrainModelOperator

from include import retraining
from include.ledger import open_ledger, pauses, requests
from include.platforms import ordering


def test_a_pause_between_claim_and_training_skips_the_training(rides, monkeypatch):
    started = []
    monkeypatch.setattr(ordering, "order", lambda *asked: started.append(asked))
    with open_ledger() as session:
        filed = requests.file_request(session, "rides", reason="it fell", triggered_by="drift", key="k", detail={})
    retraining.claim(rides, filed.id, "run-1", {})
    with open_ledger() as session:
        pauses.pause(session, "rides", by="ann", reason="stop")

    operator = TrainModelOperator(task_id="train", pipeline_name="rides", request_id=filed.id)
    with pytest.raises(AirflowSkipException, match=r"by ann: stop\. rides\.drift\.k is open again"):
        operator.execute({})

    assert started == []
    with open_ledger() as session:
        assert [each.id for each in requests.open_requests(session, "rides", older_than_seconds=0)] == [filed.id]
