"""This file reads a request's body: of a known kind, not too large and not for ever, all checked while it arrives."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from include.errors import BadRequestError
from include.serving.formats import FORMATS, Format
from include.serving.limits import endpoint_limits


async def read_body(request: Request) -> tuple[bytes, Format]:
    """Return the body of a request, and the form it has.

    :raises BadRequestError: if it is of another kind, larger than `body_bytes` (known from the header or after that
        many bytes, never after reading it all), slower than `body_seconds`, or cut off by the sender.
    """
    limits = endpoint_limits()
    form = _form_of(request, limits.body_bytes)
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _receive(request, limits.body_bytes), form
    except TimeoutError as error:
        raise BadRequestError(
            f"The body was not there after {limits.body_seconds:g} s: send it faster.", status=408, reason="body_time"
        ) from error
    except ClientDisconnect as error:
        raise BadRequestError("The body ended before it was complete.", status=400, reason="body_cut") from error


async def _receive(request: Request, at_most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            raise _too_large(at_most)
    return bytes(body)


def _form_of(request: Request, at_most: int) -> Format:
    headers = dict(reversed(request.scope["headers"]))  # the first of a name counts; as text they would cost more
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
