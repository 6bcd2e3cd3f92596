"""This file decides who may ask the endpoint: by key, by pipeline, by rate."""

import multiprocessing
from datetime import UTC, datetime

from fastapi import Request

from include.errors import BadRequestError
from include.serving.headers import first_headers
from include.serving.keyring import Held, Keyring
from include.serving.metrics import Metrics
from include.serving.rates import Rates
from include.serving.visits import visit_of
from include.settings import Settings

_BEARER = {"WWW-Authenticate": "Bearer"}


class Admission:
    """The keys and their rates."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._keyring = Keyring(settings)
        self._rates = Rates(settings, metrics.unchecked, is_alone=multiprocessing.parent_process() is None)

    async def admit(self, request: Request, pipeline: str | None) -> None:
        """Let a request pass, and note in its visit whose key it has.

        :param pipeline: as the path names it.
        :raises BadRequestError: 401 without a good key, 403 for a pipeline that is not the key's, 429 beyond its rate.
        """
        if not self._keyring.is_needed():
            return
        held = self._held(request)
        visit_of(request).key = held.key.name
        _check_good(held, datetime.now(UTC))
        _check_pipeline(held, pipeline)
        if held.rate and (seconds := await self._rates.seconds_to_wait(held.key.name, held.rate)):
            raise BadRequestError(
                f"Key '{held.key.name}' may ask {held.key.rate}: ask again in {seconds} s.",
                status=429,
                reason="rate",
                headers={"Retry-After": str(seconds)},
            )

    def _held(self, request: Request) -> Held:
        token = _token_of(request)
        if not token:
            raise BadRequestError(
                "A key is needed: send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'. Who runs the "
                "endpoint makes one with `evergreen keys add`.",
                status=401,
                reason="no_key",
                headers=_BEARER,
            )
        held = self._keyring.find(token)
        if not held:
            raise BadRequestError(
                "This key is not one of the endpoint's: it is mistyped, revoked or replaced. Ask for a new one.",
                status=401,
                reason="bad_key",
                headers=_BEARER,
            )
        return held


def _token_of(request: Request) -> bytes:
    headers = first_headers(request)
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return (token if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")).strip()


def _check_good(held: Held, now: datetime) -> None:
    if held.key.is_expired(now):
        raise BadRequestError(
            f"This key of '{held.key.name}' ended at {held.key.expires_at}: use the one that has replaced it.",
            status=401,
            reason="bad_key",
            headers=_BEARER,
        )


def _check_pipeline(held: Held, pipeline: str | None) -> None:
    allowed = held.key.pipelines
    if allowed is not None and pipeline not in allowed:
        raise BadRequestError(
            f"Key '{held.key.name}' may ask only {list(allowed)}: ask /invocations/<one of them>.",
            status=403,
            reason="forbidden",
        )
