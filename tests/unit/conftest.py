"""What several unit tests begin with."""

import pytest

from include.ledger import open_ledger, releases


@pytest.fixture
def approve(make_model):
    """Enter a release that the gate approved against a version; return its id."""

    def enter(compared_with=None, slope=1.0):
        with open_ledger() as session:
            number = releases.next_version(session, "rides")
            folder, sha256 = make_model(f"m{number}", slope=slope)
            release = releases.add_release(
                session,
                "rides",
                f"request-{number}",
                model_uri=folder,
                sha256=sha256,
                tracking_run="",
                judged_until="2020-01-01",
                quality=0.7,
                metrics={},
                gate={},
                compared_with=compared_with,
            )
            releases.judge(session, release.id, approved=True, note="good")
            return release.id

    return enter
