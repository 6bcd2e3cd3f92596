"""This file reads a request's headers as they came: as text, looked up one by one, they cost more than the model."""

from fastapi import Request


def first_headers(request: Request) -> dict[bytes, bytes]:
    """Return the headers by name, in lower case; of several of a name the first counts."""
    return dict(reversed(request.scope["headers"]))
