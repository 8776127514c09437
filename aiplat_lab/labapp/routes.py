"""The routes of the front end, each behind Jupyter's authentication and, for those who set it up, its authorisation."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import HTTPError, authenticated

from aiplat_lab.core.errors import AiplatError, CallRefused, GatewayUnavailable, PromptError, UsageError
from aiplat_lab.labapp.link import Link

BASE = "aiplat/api"
MAX_CALLS = 1_000
MAX_OFFSET = 1_000_000
Method = Callable[..., Awaitable[None]]


def guarded(method: Method) -> Method:
    """`method` for signed-in users alone (403 otherwise), who may be forbidden the resource `aiplat` by an authoriser."""
    checked: Method = authenticated(authorized(method))
    return checked


def http_status(error: AiplatError) -> int:
    """The HTTP status with which the front end hears of an error."""
    if isinstance(error, UsageError | PromptError):
        return 400
    if isinstance(error, CallRefused):
        return 403
    return 503 if isinstance(error, GatewayUnavailable) else 502


class Route(APIHandler):  # type: ignore[misc]  # Jupyter's handlers come without types
    """One route: asks the link, and answers in JSON."""

    auth_resource = "aiplat"

    def initialize(self, link: Link) -> None:
        """Called by Tornado for each request."""
        self.link = link

    def body(self) -> dict[str, Any]:
        """What was sent, an object in JSON."""
        try:
            found = json.loads(self.request.body or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HTTPError(400, "the body must be an object in JSON")
        return found

    async def answer(self, asked: Awaitable[dict[str, Any]]) -> None:
        """Sends what was asked for, or the error as one sentence with its type."""
        try:
            data = await asked
        except AiplatError as error:
            self.set_status(http_status(error))
            data = {"error": error.to_wire()}
        self.set_header("Cache-Control", "no-store")
        await self.finish(json.dumps(data))


class StateRoute(Route):
    """`GET status`: whether the gateway runs, and its figures."""

    @guarded
    async def get(self) -> None:
        """Answers with the state."""
        await self.answer(self.link.state())


class StartRoute(Route):
    """`POST start`: starts the gateway."""

    @guarded
    async def post(self) -> None:
        """Answers with the state after it."""
        await self.answer(self.link.start())


class StopRoute(Route):
    """`POST stop`: stops the gateway."""

    @guarded
    async def post(self) -> None:
        """Answers with the state after it."""
        await self.answer(self.link.stop())


class CallsRoute(Route):
    """`GET calls?notebook=&limit=&offset=`: the last calls of a notebook."""

    @guarded
    async def get(self) -> None:
        """Answers with `{"calls": […]}`, newest first."""
        notebook = self.get_query_argument("notebook", "")
        try:
            limit = int(self.get_query_argument("limit", "50"))
            offset = int(self.get_query_argument("offset", "0"))
        except ValueError:
            raise HTTPError(400, "limit and offset must be whole numbers") from None
        size = {"limit": min(max(limit, 1), MAX_CALLS), "offset": min(max(offset, 0), MAX_OFFSET)}
        await self.answer(self.link.calls(notebook, **size))


class CallRoute(Route):
    """`GET calls/ID`: one call with its messages and its answer."""

    @guarded
    async def get(self, call_id: str) -> None:
        """Answers with the row of the ledger, `messages`, `settings` and `text`."""
        await self.answer(self.link.call(call_id))


class ModelsRoute(Route):
    """`GET models`: the models that a cell may name."""

    @guarded
    async def get(self) -> None:
        """Answers with `{"models": […]}`."""
        await self.answer(self.link.models())


class CancelRoute(Route):
    """`POST calls/ID/cancel`: cancels a call under way."""

    @guarded
    async def post(self, call_id: str) -> None:
        """Answers with `{"cancelled": …}`."""
        await self.answer(self.link.cancel(call_id))


class PlanRoute(Route):
    """`POST plan`: what would become of `requests`; nothing is sent."""

    @guarded
    async def post(self) -> None:
        """Answers with `{"plans": […]}`, one for each request."""
        await self.answer(self.link.plan(self.body()))


class PromptsRoute(Route):
    """`GET prompts`: every prompt; `POST prompts`: saves a cell as a version of one."""

    @guarded
    async def get(self) -> None:
        """Answers with `{"prompts": […]}`."""
        await self.answer(self.link.prompts())

    @guarded
    async def post(self) -> None:
        """Answers with `name`, `version` and whether it is `new`."""
        await self.answer(self.link.save_prompt(self.body()))


class PromptRoute(Route):
    """`GET prompts/NAME` or `prompts/NAME@VERSION`: one prompt with its text."""

    @guarded
    async def get(self, reference: str) -> None:
        """Answers with messages, variables, and the cell that asks it."""
        await self.answer(self.link.prompt(unquote(reference)))


class EvalsetsRoute(Route):
    """`GET evalsets`: every evalset with its last result."""

    @guarded
    async def get(self) -> None:
        """Answers with `{"evalsets": […]}`."""
        await self.answer(self.link.evalsets())


ROUTES: tuple[tuple[str, type[Route]], ...] = (
    ("status", StateRoute),
    ("start", StartRoute),
    ("stop", StopRoute),
    ("calls", CallsRoute),
    (r"calls/([0-9a-fA-F-]{32,36})", CallRoute),
    (r"calls/([0-9a-fA-F-]{32,36})/cancel", CancelRoute),
    ("models", ModelsRoute),
    ("plan", PlanRoute),
    ("prompts", PromptsRoute),
    (r"prompts/([A-Za-z0-9._@%-]{1,200})", PromptRoute),
    ("evalsets", EvalsetsRoute),
)
"""All routes, relative to `BASE`."""


def handlers(base_url: str, link: Link) -> list[tuple[str, type[Route], dict[str, Link]]]:
    """The routes as Tornado takes them, under the server's base URL."""
    return [(url_path_join(base_url, BASE, path) + "$", route, {"link": link}) for path, route in ROUTES]
