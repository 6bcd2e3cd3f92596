import gzip

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from include import reports


@pytest.fixture
def login():
    """Let requests come from somebody, or from nobody."""
    from airflow.api_fastapi.core_api.security import get_user
    from evergreen.ui import app

    def install(user: str | None) -> TestClient:
        def found() -> str:
            if user is None:
                raise HTTPException(401, "Not authenticated")
            return user

        app.dependency_overrides[get_user] = found
        return TestClient(app)

    yield install
    app.dependency_overrides.clear()


@pytest.fixture
def report(settings):
    file = settings.lake / "rides" / "reports" / "drift" / "2020-01-01-v1.html.gz"
    reports.write_page(file, "<p>drift</p>")
    (settings.lake / "rides" / "reports" / "library").mkdir()
    (settings.lake / "rides" / "reports" / "library" / "a.js.gz").write_bytes(gzip.compress(b"draw()"))
    (settings.lake / "rides" / "reports" / "library" / "noise.json").write_text("{}")
    (settings.lake / "rides" / "reports" / "noise.json").write_text("{}")
    (settings.lake / "rides" / "secret.html.gz").write_text("no report")
    (settings.data / "reports").mkdir()
    (settings.data / "reports" / "outside.html.gz").write_text("outside")
    return "rides/reports/drift/2020-01-01-v1.html.gz"


@pytest.mark.parametrize(
    "page", ["/status", "/why/rides", "/history/rides", "/reports/rides/reports/drift/2020-01-01-v1.html.gz"]
)
def test_nobody_sees_anything_without_a_login(login, report, page):
    assert login(None).get(page).status_code == 401


def test_airflows_own_check_asks_every_page_for_a_user():
    from airflow.api_fastapi.core_api.security import get_user
    from evergreen.ui import app

    pages = {
        route.path: route
        for route in app.routes
        if route.path in {"/status", "/why/{pipeline}", "/history/{pipeline}", "/reports/{path:path}"}
    }

    assert len(pages) == 4
    for route in pages.values():
        assert get_user in {each.call for each in route.dependant.dependencies}


def test_a_report_is_served_as_html(login, report):
    answer = login("admin").get(f"/reports/{report}")

    assert (answer.status_code, answer.text) == (200, "<p>drift</p>")
    assert answer.headers["content-type"].startswith("text/html")


def test_the_library_reports_share_is_served_to_pages_that_have_no_login_of_their_own(login, report):
    answer = login(None).get("/reports/rides/reports/library/a.js.gz")

    assert (answer.status_code, answer.text) == (200, "draw()")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", ["noise.json", "..%2Fdrift%2F2020-01-01-v1.html.gz", "nothing.js.gz"])
def test_nothing_but_libraries_is_served_without_a_login(login, report, name):
    assert login(None).get(f"/reports/rides/reports/library/{name}").status_code in {401, 404}


@pytest.mark.parametrize(
    "path",
    [
        "rides/secret.html.gz",
        "rides/reports/noise.json",
        "rides/reports/drift",
        "rides/reports/drift/nothing.html.gz",
        "rides/reports/..%2Fsecret.html.gz",
        "..%2Freports%2Foutside.html.gz",
        "rides%2Freports%2F..%2F..%2F..%2Freports%2Foutside.html.gz",
        "%2Fetc%2Fpasswd",
    ],
)
def test_whatever_is_no_report_is_not_found(login, report, path):
    assert login("admin").get(f"/reports/{path}").status_code == 404


def test_a_link_out_of_the_lake_is_not_followed(login, report, settings):
    (settings.lake / "rides" / "reports" / "link.html.gz").symlink_to(settings.data / "reports" / "outside.html.gz")

    assert login("admin").get("/reports/rides/reports/link.html.gz").status_code == 404


def test_the_status_page_names_the_pipelines(login, rides):
    answer = login("admin").get("/status")

    assert answer.status_code == 200
    assert "rides" in answer.text


def test_the_history_is_a_page_with_a_picture_and_an_unknown_pipeline_is_not_found(login, rides):
    answer = login("admin").get("/history/rides")

    assert answer.status_code == 200
    assert "data:image/png;base64," in answer.text
    assert login("admin").get("/history/trains").status_code == 404


def test_the_answer_to_why_is_a_page_and_an_unknown_pipeline_is_not_found(login, rides):
    answer = login("admin").get("/why/rides")

    assert answer.status_code == 200
    assert "why no new model?" in answer.text
    assert login("admin").get("/why/trains").status_code == 404
