"""This file is a route that costs as little as FastAPI allows, for the one page that is asked all the time."""

from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """A route whose function takes the request and the path's parameters, and returns a whole response.

    It is described in `/docs` as any other. What FastAPI would look for in each request is left out: dependencies, a
    body to validate, what is to be closed afterwards.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint(Request(scope, receive), **scope["path_params"])
        await response(scope, receive, send)
