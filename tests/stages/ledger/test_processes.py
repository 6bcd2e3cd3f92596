"""Whole processes on one ledger: the first to come make it together, later ones find it ready."""

import subprocess
import sys

from include.ledger import open_ledger

FIRST_COMERS = 4
OPEN = """
import sys, time
from pathlib import Path
from include.ledger import open_ledger, requests
ready, go = Path(sys.argv[2]), Path(sys.argv[3])
ready.touch()
while not go.exists():
    time.sleep(0.001)
with open_ledger(sys.argv[1]) as session:
    requests.file_request(session, "flights", reason="", triggered_by="hand", key="one", detail={})
"""


def test_a_ledger_that_is_up_to_date_is_opened_without_alembic(ledger_url):
    with open_ledger(ledger_url):
        pass
    code = "import sys; from include.ledger import open_ledger\nwith open_ledger(sys.argv[1]): pass\n"

    subprocess.run([sys.executable, "-c", code + "assert 'alembic' not in sys.modules", ledger_url], check=True)


def test_processes_that_open_a_new_ledger_at_once_make_it_once(ledger_url, tmp_path):
    ready = [tmp_path / f"ready-{number}" for number in range(FIRST_COMERS)]
    comers = [
        subprocess.Popen([sys.executable, "-c", OPEN, ledger_url, each, tmp_path / "go"], stderr=subprocess.PIPE)
        for each in ready
    ]
    while not all(each.exists() for each in ready):
        assert all(process.poll() is None for process in comers), comers[0].communicate()[1].decode()
    (tmp_path / "go").touch()

    assert [process.communicate(timeout=60)[1].decode() for process in comers] == [""] * FIRST_COMERS
    assert [process.returncode for process in comers] == [0] * FIRST_COMERS
