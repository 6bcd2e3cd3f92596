"""This file reads a request's body: JSON as it is, not too large and not for ever, all checked while it arrives."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from include.errors import BadRequestError

MAX_BODY_BYTES = 16 * 2**20
BODY_SECONDS = 30.0


async def read_body(request: Request) -> bytes:
    """Return the body of a request.

    :raises BadRequestError: if it is of another kind, larger than `MAX_BODY_BYTES` (known from the header or after that
        many bytes, never after reading it all), slower than `BODY_SECONDS`, or cut off by the sender.
    """
    _check_kind(request)
    try:
        reading = _receive(request)
        try:
            waited_for = reading.send(None)
        except StopIteration as read:  # it was all there, as almost always: a timer would cost more than reading it
            return read.value
        async with asyncio.timeout(BODY_SECONDS):
            return await _rest(reading, waited_for)
    except TimeoutError as error:
        raise BadRequestError(
            f"The body was not there after {BODY_SECONDS:g} s: send it faster.", status=408
        ) from error
    except ClientDisconnect as error:
        raise BadRequestError("The body ended before it was complete.", status=400) from error


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


async def _receive(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _check_kind(request: Request) -> None:
    headers = dict(reversed(request.scope["headers"]))  # the first of a name counts; as text they would cost more
    kind = headers.get(b"content-type", b"application/json").decode("latin-1").split(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequestError(f"Content-Type is '{kind[:60]}', expected application/json.", status=415)
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if coding != "identity":
        raise BadRequestError(f"Content-Encoding is '{coding[:60]}': send the body as it is.", status=415)
    announced = headers.get(b"content-length", b"0").decode("latin-1")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise _too_large()


def _too_large() -> BadRequestError:
    return BadRequestError(f"The body is larger than {MAX_BODY_BYTES} bytes: split it.", status=413, field="instances")
