"""This file reads a request's body: of a known kind, not too large and not for ever, all checked while it arrives."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from include.errors import BadRequestError
from include.serving.formats import FORMATS, Format
from include.serving.headers import first_headers
from include.serving.limits import endpoint_limits
from include.serving.visits import visit_of


async def read_body(request: Request) -> tuple[bytes, Format]:
    """Return the body of a request, and the form it has.

    :raises BadRequestError: if it is of another kind, larger than `body_bytes` (known from the header or after that
        many bytes, never after reading it all), slower than `body_seconds`, or cut off by the sender.
    """
    limits = endpoint_limits()
    form = _form_of(request, limits.body_bytes)
    try:
        reading = _receive(request, limits.body_bytes)
        try:
            waited_for = reading.send(None)
        except StopIteration as read:  # it was all there, as almost always: a timer would cost more than reading it
            return read.value, form
        async with asyncio.timeout(limits.body_seconds):
            return await _rest(reading, waited_for), form
    except TimeoutError as error:
        raise BadRequestError(
            f"The body was not there after {limits.body_seconds:g} s: send it faster.", status=408, reason="body_time"
        ) from error
    except ClientDisconnect as error:
        raise BadRequestError("The body ended before it was complete.", status=400, reason="body_cut") from error


@types.coroutine
def _rest(reading: Coroutine[Any, Any, bytes], waited_for: Any) -> Generator[Any, Any, bytes]:
    """Go on with a coroutine that was begun outside the event loop and waits for something."""
    while True:
        try:
            try:
                found = yield waited_for
            except BaseException as error:  # noqa: BLE001  such as the end of the time: it is the coroutine's to handle
                waited_for = reading.throw(error)
            else:
                waited_for = reading.send(found)
        except StopIteration as read:
            return read.value


async def _receive(request: Request, at_most: int) -> bytes:
    chunks, visit = list[bytes](), visit_of(request)
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        visit.bytes += len(chunks[-1])
        if visit.bytes > at_most:
            raise _too_large(at_most)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _form_of(request: Request, at_most: int) -> Format:
    headers = first_headers(request)
    kind = headers.get(b"content-type", b"application/json").decode("latin-1").split(";")[0].strip().lower()
    form = FORMATS.get(kind)
    if form is None:
        raise BadRequestError(
            f"Content-Type is '{kind[:60]}', expected {' or '.join(FORMATS)}.", status=415, reason="body_kind"
        )
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if coding != "identity":
        raise BadRequestError(
            f"Content-Encoding is '{coding[:60]}': send the body as it is.", status=415, reason="body_kind"
        )
    announced = headers.get(b"content-length", b"0").decode("latin-1")
    if announced.isdecimal() and int(announced[:20]) > at_most:
        raise _too_large(at_most)
    return form


def _too_large(at_most: int) -> BadRequestError:
    return BadRequestError(
        f"The body is larger than {at_most} bytes: split it.", status=413, reason="body_size", field="instances"
    )
