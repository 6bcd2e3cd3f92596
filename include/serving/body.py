"""This file reads a request's body: JSON as it is, not too large and not for ever, all checked while it arrives."""

import asyncio

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
        async with asyncio.timeout(BODY_SECONDS):
            return await _receive(request)
    except TimeoutError as error:
        raise BadRequestError(
            f"The body was not there after {BODY_SECONDS:g} s: send it faster.", status=408
        ) from error
    except ClientDisconnect as error:
        raise BadRequestError("The body ended before it was complete.", status=400) from error


async def _receive(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _check_kind(request: Request) -> None:
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequestError(f"Content-Type is '{kind[:60]}', expected application/json.", status=415)
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise BadRequestError(f"Content-Encoding is '{coding[:60]}': send the body as it is.", status=415)
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise _too_large()


def _too_large() -> BadRequestError:
    return BadRequestError(f"The body is larger than {MAX_BODY_BYTES} bytes: split it.", status=413, field="instances")
