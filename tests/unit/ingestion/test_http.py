import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import tenacity

from include.errors import BadDeliveryError, SourceUnavailableError
from include.ingestion import http
from include.ingestion.reading import read
from include.sources import Http

DAY = "2020-01-06"


class Service:
    """A web service on this machine: answers by path, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, str]]] = {}
        self.asked: list[tuple[str, str | None]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                service.asked.append((self.path, self.headers.get("Authorization")))
                left = service.answers.get(self.path, [(404, "")])
                status, body = left.pop(0) if len(left) > 1 else left[0]
                content = body.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def says(self, path: str, content, status: int = 200) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.answers.setdefault(path, []).append((status, text))


@pytest.fixture
def service(monkeypatch) -> Iterator[Service]:
    monkeypatch.setattr(http._get.retry, "wait", tenacity.wait_none())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    service = Service()
    threading.Thread(target=service.server.serve_forever, args=(0.01,), daemon=True).start()
    yield service
    service.server.shutdown()
    service.server.server_close()


@pytest.fixture
def source(service) -> Http:
    return Http(url=f"{service.url}/rides?day={{date}}", items="data.rows", next="links.next")


FIRST = f"/rides?day={DAY}"


def page(*rows: dict, following: str | None = None) -> dict:
    return {"data": {"rows": list(rows)}, "links": {"next": following}}


def test_all_pages_are_read_in_their_order(service, source):
    service.says(FIRST, page({"a": 1.10, "b": None}, {"a": 2, "b": "x"}, following="/rides?page=2"))
    service.says("/rides?page=2", page({"a": 3, "b": True}))

    [found] = http.fetch(source, DAY, None)

    rows = read(found, DAY, "f", ["a", "b"]).to_pylist()
    assert [(row["source_row"], row["a"], row["b"]) for row in rows] == [
        (1, "1.1", None), (2, "2", "x"), (3, "3", "true")
    ]  # fmt: skip


@pytest.mark.parametrize("following", ["?page=2", "rides?page=2", "/rides?page=2", "{url}/rides?page=2"])
def test_the_next_page_is_named_whole_or_from_where_one_is(service, source, following):
    service.says(FIRST, page({"a": 1}, following=following.replace("{url}", service.url)))
    service.says("/rides?page=2", page({"a": 2}))

    [found] = http.fetch(source, DAY, None)

    assert [row["a"] for row in read(found, DAY, "f", ["a"]).to_pylist()] == ["1", "2"]


def test_a_page_may_be_the_list_itself(service):
    service.says(FIRST, [{"a": 1}])

    assert len(http.fetch(Http(url=f"{service.url}/rides?day={{date}}"), DAY, None)) == 1


@pytest.mark.parametrize(("status", "content"), [(404, ""), (204, ""), (200, page())])
def test_a_day_without_rows_is_not_delivered(service, source, status, content):
    service.says(FIRST, content, status)

    assert not http.is_delivered(source, DAY, None)
    assert http.fetch(source, DAY, None) == []


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (204, "204 No Content")])
def test_a_later_page_that_is_missing_makes_no_delivery_of_those_before(service, source, status, reason):
    service.says(FIRST, page({"a": 1}, following="/rides?page=2"))
    service.says("/rides?page=2", "", status)

    with pytest.raises(SourceUnavailableError, match=rf"/rides\?page=2: page 2 of .* answered {reason}.*tried again"):
        http.fetch(source, DAY, None)
    assert http.is_delivered(source, DAY, None)


def test_a_service_that_is_busy_is_asked_again(service, source):
    service.says(FIRST, "later", 503)
    service.says(FIRST, "slower", 429)
    service.says(FIRST, page({"a": 1}))

    assert http.is_delivered(source, DAY, None)


def test_a_service_that_stays_down_is_a_matter_for_the_next_try(service, source):
    service.says(FIRST, "out of order", 500)

    with pytest.raises(SourceUnavailableError, match=r"answered 500 .*: 'out of order'"):
        http.fetch(source, DAY, None)
    assert len(service.asked) == 4


def test_a_service_that_is_not_there_is_a_matter_for_the_next_try(service):
    with pytest.raises(SourceUnavailableError, match=r"http://127\.0\.0\.1:1/.*did not answer: ConnectError"):
        http.is_delivered(Http(url="http://127.0.0.1:1/{date}"), DAY, None)


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (401, "who are you?", r"answered 401 .*'who are you\?'.*the login in its 'connection'"),
        (200, "<html>", "something that is not JSON .*: '<html>'"),
        (200, {"rows": []}, r"expected a list of objects at 'data\.rows', found None"),
        (200, {"data": {"rows": [1]}}, r"found \['1'\]"),
        (200, page({"a": 1}, following=FIRST), "leads in a circle"),
        (200, page({"a": 1}, following="http://elsewhere/"), "leads to another host: http://elsewhere/"),
    ],
)
def test_an_answer_that_is_no_delivery_is_refused_with_what_was_found(service, source, status, content, message):
    service.says(FIRST, content, status)

    with pytest.raises(BadDeliveryError, match=rf"rides\?day={DAY}.*{message}"):
        http.fetch(source, DAY, None)


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        (None, None),
        ("http://:a%2Ftoken@ignored", "Bearer a/token"),
        ("https://me:secret@ignored", "Basic bWU6c2VjcmV0"),
    ],
)
def test_a_connections_login_is_sent(service, source, login, sent):
    service.says(FIRST, page({"a": 1}))

    http.is_delivered(source, DAY, login)

    assert service.asked == [(FIRST, sent)]


def test_a_login_never_leaves_https_though_a_page_says_http(monkeypatch):
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), request.headers["Authorization"]))
        following = "HTTP://api.example.com/rides?page=2" if len(asked) == 1 else None
        return httpx.Response(200, json=page({"a": len(asked)}, following=following))

    usual, transport = httpx.Client, httpx.MockTransport(answer)
    monkeypatch.setattr(http.httpx, "Client", lambda **how: usual(**how, transport=transport))
    there = Http(url="https://api.example.com/rides?day={date}", items="data.rows", next="links.next")

    assert len(http.fetch(there, DAY, "http://:token@ignored")) == 1

    assert asked == [
        (f"https://api.example.com/rides?day={DAY}", "Bearer token"),
        ("https://api.example.com/rides?page=2", "Bearer token"),
    ]
