"""This file takes a day's rows from a web service that answers with pages of JSON."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from include.errors import BadDeliveryError, SourceUnavailableError
from include.ingestion.delivered import Delivered, rows_as_file
from include.sources import Http

TIMEOUT_SECONDS = 30
NOT_THERE = {204, 404}
NOT_NOW = {408, 425, 429}


def where(source: Http, day: str) -> str:
    """Return the URL of a day's first page."""
    return source.url.replace("{date}", day)


def is_delivered(source: Http, day: str, login_url: str | None) -> bool:
    """Return whether the first page of the day has any row."""
    with _client(login_url) as client:
        return bool(next(_pages(client, source, day), []))


def fetch(source: Http, day: str, login_url: str | None) -> list[Delivered]:
    """Return the rows of all pages as JSON lines, none if there are no rows (yet).

    :raises BadDeliveryError: if an answer is no such JSON, or a refusal.
    :raises SourceUnavailableError: if the service does not answer after some tries, or lacks a page that it has named.
    """
    with _client(login_url) as client:
        rows = [row for page in _pages(client, source, day) for row in page]
    return [rows_as_file(where(source, day), rows, has_order=True)] if rows else []


def _client(login_url: str | None) -> httpx.Client:
    """Log in with name and password, or with the password as a token if there is no name."""
    login = urlsplit(login_url or "")
    name, password = unquote(login.username or ""), unquote(login.password or "")
    headers = {"Authorization": f"Bearer {password}"} if password and not name else {}
    return httpx.Client(timeout=TIMEOUT_SECONDS, headers=headers, auth=(name, password) if name else None)


def _pages(client: httpx.Client, source: Http, day: str) -> Iterator[list[dict[str, Any]]]:
    url, seen = where(source, day), set[str]()
    while url and url not in seen:
        seen.add(url)
        response = _get(client, url)
        if response.status_code in NOT_THERE:
            if len(seen) == 1:
                return
            raise SourceUnavailableError(
                f"{url}: page {len(seen)} of {where(source, day)} answered {response.status_code} "
                f"{response.reason_phrase}, expected rows: the page before names it. Nothing of the day was taken; it "
                "is tried again from the first page."
            )
        page = _json(response, url)
        yield _rows(_at(page, source.items), source, url)
        following = _at(page, source.next) if source.next else None
        url = urljoin(url, str(following)) if following else ""
        if url and urlsplit(url).netloc != urlsplit(where(source, day)).netloc:
            # The login must not be sent to a host that only an answer has named.
            raise BadDeliveryError(f"{where(source, day)}: '{source.next}' leads to another host: {url}.")
        url = _as_safe(url, where(source, day))
    if url:
        raise BadDeliveryError(f"{where(source, day)}: '{source.next}' leads in a circle, back to {url}.")


def _as_safe(url: str, first: str) -> str:
    # A service behind a proxy that speaks TLS for it often names itself by http: that would show the login to anyone.
    is_lowered = urlsplit(first).scheme == "https" and urlsplit(url).scheme == "http"
    return urlsplit(url)._replace(scheme="https").geturl() if is_lowered else url


@retry(
    retry=retry_if_exception_type(SourceUnavailableError),
    stop=stop_after_attempt(4),
    wait=wait_exponential_jitter(initial=0.2, max=10),
    reraise=True,
)
def _get(client: httpx.Client, url: str) -> httpx.Response:
    try:
        response = client.get(url)
    except httpx.TransportError as error:
        raise SourceUnavailableError(f"{url}: did not answer: {type(error).__name__}: {error}") from error
    if response.status_code in NOT_NOW or response.status_code >= 500:
        raise SourceUnavailableError(
            f"{url}: answered {response.status_code} {response.reason_phrase}: {_start(response)}"
        )
    if response.status_code not in NOT_THERE and not response.is_success:
        raise BadDeliveryError(
            f"{url}: answered {response.status_code} {response.reason_phrase}: {_start(response)}. Correct 'source' "
            "in the YAML, or the login in its 'connection'."
        )
    return response


def _json(response: httpx.Response, url: str) -> Any:
    try:
        return json.loads(response.content, parse_float=str, parse_int=str)  # numbers stay as they were written
    except ValueError as error:
        raise BadDeliveryError(
            f"{url}: answered with something that is not JSON ({error}): {_start(response)}"
        ) from error


def _at(page: Any, path: str | None) -> Any:
    for name in path.split(".") if path else ():
        page = page.get(name) if isinstance(page, dict) else None
    return page


def _rows(found: Any, source: Http, url: str) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadDeliveryError(
            f"{url}: expected a list of objects at '{source.items or '(the whole page)'}', found {str(found)[:80]}. "
            "Correct 'items' in the YAML."
        )
    return found


def _start(response: httpx.Response) -> str:
    return repr(response.text[:120])
