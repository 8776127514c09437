"""The gateway's HTTP server: who may come in by which door, the routes, and what each error is in HTTP.

The owner comes through a socket in a folder that nobody else can enter; everybody else through loopback TCP with a virtual key.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    BudgetExceeded,
    CallCancelled,
    CallLost,
    CallRefused,
    CapabilityRefused,
    ConfigError,
    ContentRefused,
    LedgerError,
    NothingToReplay,
    PromptError,
    ProviderError,
    QueryError,
    RateLimited,
    RecordExists,
    UnknownCall,
    UnknownModel,
    UsageError,
    redact,
)
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway import (
    _anthropic_face,
    _batch_routes,
    _gemini_face,
    _import_route,
    _key_routes,
    _openai_face,
    _own_routes,
    _plan_route,
    _replay_route,
    _responses_face,
    _route_face,
)
from aiplat_lab.gateway._anthropic_face import AnthropicFace
from aiplat_lab.gateway._door import Caller, Door, Face, Fault, json_reply
from aiplat_lab.gateway._gemini_face import GeminiFace
from aiplat_lab.gateway._openai_face import OpenAIFace
from aiplat_lab.gateway._openapi import document
from aiplat_lab.gateway._own_routes import OwnFace
from aiplat_lab.gateway._refused import note_refused
from aiplat_lab.gateway._threshold import WILDCARD, Threshold, is_loopback
from aiplat_lab.gateway.process import HAS_UNIX_SOCKETS
from aiplat_lab.gateway.row import error_type
from aiplat_lab.gateway.telemetry import TRACEPARENT
from aiplat_lab.policies import ROLES, Key, Role

logger = logging.getLogger(__name__)

Route = Callable[[Door, web.Request, Caller], Awaitable[web.StreamResponse]]
GRACE_S = 5.0
"""How long calls in flight may go on when the process is told to end."""
KEEP_ALIVE_S = 3600.0
"""How long an idle connection stays open; a kernel's next call then needs no new one."""
MEGABYTE = 1_000_000


class Access(NamedTuple):
    """Who may use a route. The owner's own door and an owner's key open each of them."""

    everybody: bool = False
    """No key is needed."""
    keys: bool = False
    """A virtual key opens it, if it has one of the roles; otherwise only the owner's socket and an owner's key do."""
    quiet: bool = False
    """A look from outside, which does not keep an idle gateway alive."""
    roles: frozenset[Role] = frozenset(ROLES)
    """The roles whose keys open it, where keys do."""

    @property
    def openers(self) -> frozenset[Role]:
        """The roles whose keys open it."""
        return (self.roles | _OWNERS) if self.keys else _OWNERS


_OWNERS: frozenset[Role] = frozenset({"owner"})
_KEYS = Access(keys=True)
_CALLS = Access(keys=True, roles=frozenset({"maintainer", "member"}))
_READERS = Access(keys=True, roles=frozenset({"auditor"}))
_KEEPERS = Access(keys=True, roles=frozenset({"maintainer"}))
_OWNER = Access()
_OPENAI, _ANTHROPIC, _GEMINI, _OWN = OpenAIFace(), AnthropicFace(), GeminiFace(), OwnFace()
GEMINI_PATHS = "/v1beta/"


async def openapi(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /openapi.json`: every route, and what its body holds."""
    return json_reply(document(ROUTES))


ROUTES: tuple[tuple[str, str, Route, Face, Access], ...] = (
    ("POST", "/v1/chat/completions", _openai_face.chat, _OPENAI, _CALLS),
    ("POST", "/v1/embeddings", _openai_face.embeddings, _OPENAI, _CALLS),
    ("POST", "/v1/responses", _responses_face.responses, _OPENAI, _CALLS),
    ("GET", "/v1/models", _openai_face.models, _OPENAI, _KEYS),
    ("GET", "/v1/models/{name:.+}", _openai_face.model, _OPENAI, _KEYS),
    ("POST", "/v1/messages", _anthropic_face.messages, _ANTHROPIC, _CALLS),
    ("POST", "/v1/messages/count_tokens", _anthropic_face.count_tokens, _ANTHROPIC, _CALLS),
    ("POST", "/v1beta/models/{model:.+}:generateContent", _gemini_face.generate, _GEMINI, _CALLS),
    ("POST", "/v1beta/models/{model:.+}:streamGenerateContent", _gemini_face.stream, _GEMINI, _CALLS),
    ("POST", "/v1beta/models/{model:.+}:countTokens", _gemini_face.count_tokens, _GEMINI, _CALLS),
    ("POST", "/v1beta/models/{model:.+}:embedContent", _gemini_face.embed, _GEMINI, _CALLS),
    ("POST", "/v1beta/models/{model:.+}:batchEmbedContents", _gemini_face.embed_batch, _GEMINI, _CALLS),
    ("GET", "/v1beta/models", _gemini_face.models, _GEMINI, _KEYS),
    ("GET", "/v1beta/models/{model:.+}", _gemini_face.model, _GEMINI, _KEYS),
    ("POST", "/api/calls", _own_routes.create_call, _OWN, _CALLS),
    ("GET", "/api/calls/{id}", _own_routes.read_call, _OWN, _KEYS),
    ("POST", "/api/calls/{id}/cancel", _own_routes.cancel_call, _OWN, _OWNER),
    ("POST", "/api/batches", _batch_routes.submit, _OWN, _CALLS),
    ("GET", "/api/batches", _batch_routes.listed, _OWN, _KEYS),
    ("GET", "/api/batches/{id}", _batch_routes.read, _OWN, _KEYS),
    ("POST", "/api/batches/{id}/cancel", _batch_routes.cancel, _OWN, _CALLS),
    ("POST", "/api/query", _own_routes.query, _OWN, _READERS),
    ("POST", "/api/views/{name}", _own_routes.view, _OWN, _KEYS),
    ("POST", "/api/records", _own_routes.record, _OWN, _OWNER),
    ("GET", "/api/prompts", _own_routes.prompts, _OWN, _KEYS),
    ("GET", "/api/prompts/{reference}", _own_routes.prompt, _OWN, _KEYS),
    ("GET", "/api/status", _own_routes.status, _OWN, _KEYS),
    ("GET", "/api/models", _own_routes.models, _OWN, _KEYS),
    ("POST", "/api/keys", _key_routes.create_key, _OWN, _KEEPERS),
    ("GET", "/api/keys", _key_routes.list_keys, _OWN, Access(keys=True, roles=_KEEPERS.roles | _READERS.roles)),
    ("POST", "/api/keys/{id}/revoke", _key_routes.revoke_key, _OWN, _KEEPERS),
    ("POST", "/api/keys/{id}/rotate", _key_routes.rotate_key, _OWN, _KEEPERS),
    ("POST", "/api/route/explain", _route_face.explain, _OWN, _CALLS),
    ("POST", "/api/plan", _plan_route.plan, _OWN, _CALLS),
    ("GET", "/api/budgets", _own_routes.budgets, _OWN, _READERS),
    ("POST", "/api/budgets/what-if", _own_routes.would_pass, _OWN, _READERS),
    ("POST", "/api/budgets/notebook", _plan_route.notebook_budget, _OWN, _CALLS),
    ("POST", "/api/replay/look", _replay_route.look, _OWN, _CALLS),
    ("POST", "/api/replay/export", _replay_route.export, _OWN, _KEYS),
    ("POST", "/api/replay/import", _replay_route.take, _OWN, _CALLS),
    ("POST", "/api/replay/clear", _replay_route.clear, _OWN, _CALLS),
    ("GET", "/api/cache", _own_routes.cache, _OWN, _OWNER),
    ("POST", "/api/cache/clear", _own_routes.clear_cache, _OWN, _OWNER),
    ("POST", "/api/schedules/{id}/run", _own_routes.run_schedule, _OWN, _OWNER),
    ("POST", "/api/snapshot", _own_routes.snapshot, _OWN, _OWNER),
    ("POST", "/api/export", _own_routes.export, _OWN, _OWNER),
    ("POST", "/api/import", _import_route.import_calls, _OWN, _OWNER),
    ("POST", "/api/verify", _own_routes.verify, _OWN, _READERS),
    ("POST", "/api/stop", _own_routes.stop, _OWN, _OWNER),
    ("GET", "/healthz", _own_routes.healthz, _OWN, Access(everybody=True, quiet=True)),
    ("GET", "/metrics", _own_routes.metrics, _OWN, Access(keys=True, quiet=True)),
    ("GET", "/openapi.json", openapi, _OWN, Access(keys=True, quiet=True)),
)
"""Every route, with the shape of its errors and who may use it."""


# --- errors in HTTP: nowhere else -------------------------------------------------------------------------------------

_STATUS: tuple[tuple[type[AiplatError], int], ...] = (
    (BudgetExceeded, 402),  # SDKs send a 429 again by themselves, which no budget is helped by
    (RateLimited, 429),
    (ContentRefused, 400),
    (CapabilityRefused, 400),
    (NothingToReplay, 409),
    (CallRefused, 403),
    (UnknownModel, 404),
    (UnknownCall, 404),
    (UsageError, 400),
    (PromptError, 400),
    (CallCancelled, 499),
    (CallLost, 410),
    (ConfigError, 500),
    (QueryError, 400),
    (RecordExists, 409),
    (LedgerError, 500),
)
_PROVIDER_STATUS = {
    "rate_limited": 429,
    "unavailable": 503,
    "timeout": 504,
    "bad_request": 400,
    "context_length": 400,
}
_TOO_LARGE = 413


def fault(error: AiplatError) -> Fault:
    """The status, the word and the headers with which HTTP tells an error."""
    headers: dict[str, str] = {"x-aiplat-call-id": error.call_id} if error.call_id else {}
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    status = _status(error)
    if status != 429:
        headers["x-should-retry"] = "false"  # the gateway has tried again already, where that could help
    return Fault(status, error_type(error), error, headers)


def _status(error: AiplatError) -> int:
    if isinstance(error, ProviderError):
        if error.status == 404:
            return 404
        return _PROVIDER_STATUS.get(error.reason, 502)
    if isinstance(error, AuthRefused):
        known = (error.call_id or error.details.get("denied")) and not error.details.get("dead")
        return 403 if known else 401  # the key is good, though not for this
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


# --- the doors --------------------------------------------------------------------------------------------------------


def make_app(door: Door, *, owner: bool, token: str = "", threshold: Threshold | None = None) -> web.Application:
    """The routes behind one door.

    Args:
        door: the gateway.
        owner: whether whoever comes in is the owner.
        token: what the owner shows at the other door; empty when there is no need.
        threshold: what every request has to show first; None at a door that no web page can reach.
    """
    limit = door.settings.gateway.max_body_mb * MEGABYTE
    app = web.Application(client_max_size=limit)
    for method, path, route, face, access in ROUTES:
        app.router.add_route(method, path, _guarded(door, route, face, access, owner=owner, token=token, threshold=threshold))
    app.router.add_route("*", "/{path:.*}", _lost(door, threshold))
    return app


def _guarded(
    door: Door, route: Route, face: Face, access: Access, *, owner: bool, token: str, threshold: Threshold | None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The route with its guard: who may come in, the count of what is under way, and every error in the face's shape."""
    owners, nobody = Caller(owner=True), Caller(owner=False)

    async def guarded(request: web.Request) -> web.StreamResponse:
        door.active += not access.quiet
        caller = nobody
        if door.telemetry is not None:
            TRACEPARENT.set(request.headers.get("traceparent", ""))
        try:
            if threshold is not None:
                threshold.check(request)
            caller = owners if owner else _caller(door, request, access, token)
            if caller.refused is not None:
                raise caller.refused
            return await route(door, request, caller)
        except AiplatError as error:
            await note_refused(door, request, caller, error)
            return _told(face, fault(error))
        except web.HTTPRequestEntityTooLarge:
            mb = door.settings.gateway.max_body_mb
            large = UsageError(f"the body is larger than {mb} MB; gateway.max_body_mb in aiplat.toml sets the limit")
            await note_refused(door, request, caller, large)
            return _told(face, Fault(_TOO_LARGE, "too_large", large, fault(large).headers))
        except ConnectionError:
            raise  # the caller has left
        except Exception as error:  # the border: whatever it is, the caller gets an answer and the log has it all
            path = redact(request.path)
            logger.error("%s %s failed", request.method, path, exc_info=error)
            door.incidents.append(f"{request.method} {path} failed inside: {redact(str(error))[:200]}")
            text = f"the gateway failed inside ({type(error).__name__}); {door.home.log_file} has more"
            return _told(face, fault(AiplatError(text)))
        finally:
            if not access.quiet:
                door.active -= 1
                door.last_active = time.monotonic()

    return guarded


def _told(face: Face, told: Fault) -> web.Response:
    return json_reply(face.fault_body(told), status=told.status, headers=told.headers)


def _caller(door: Door, request: web.Request, access: Access, token: str) -> Caller:
    """Who comes through the door that is open to others; a key that is known and opens nothing here is refused by what is returned.

    Raises:
        AuthRefused: no key, or one that is unknown.
    """
    if token and secrets.compare_digest(request.headers.get("x-aiplat-token", "").encode(), token.encode()):
        return Caller(owner=True)
    if access.everybody:
        return Caller(owner=False)
    sent = request.headers.get("x-api-key") or request.headers.get("x-goog-api-key") or ""
    if not sent and request.path.startswith(GEMINI_PATHS):
        sent = request.query.get("key", "")
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        sent = bearer.strip()
    keys = door.gateway.keys
    key = keys.find(sent)
    try:
        keys.live(key.id)
        if key.role not in access.openers:
            raise _not_for(key, request, access)
    except AuthRefused as error:
        return Caller(owner=False, key=key, refused=error)
    return Caller(owner=key.role == "owner", key=key)


def _not_for(key: Key, request: web.Request, access: Access) -> AuthRefused:
    path = redact(request.path[:80])
    if key.role == "auditor" and access.roles == _CALLS.roles:
        text = f"the virtual key {key.name!r} (…{key.last_four}) is an auditor's: it reads and never calls a model"
    elif access.openers == _OWNERS:
        text = f"{path} is for the owner alone, on the gateway's own machine or with an owner's key"
    else:
        text = f"{path} is for {' and '.join(sorted(access.openers))} keys; the key {key.name!r} is a {key.role}'s"
    return AuthRefused(text, policy="auth", denied=True)


_LOST: tuple[tuple[str, Face], ...] = (("/v1/messages", _ANTHROPIC), (GEMINI_PATHS, _GEMINI), ("/api", _OWN))


def _lost(door: Door, threshold: Threshold | None) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    paths = {path.partition("{")[0].rstrip("/") for _, path, _, _, _ in ROUTES}

    async def lost(request: web.Request) -> web.StreamResponse:
        path = redact(request.path[:80])
        known = {method for method, known, _, _, _ in ROUTES if known == request.path}
        face = next((face for start, face in _LOST if path.startswith(start)), _OPENAI)
        if threshold is not None:
            try:
                threshold.check(request)
            except AuthRefused as error:
                return _told(face, fault(error))
        if known:
            text, status = f"{path} takes {' or '.join(sorted(known))}, not {request.method}", 405
        else:
            near = next((one for one in sorted(paths) if one.startswith("/v1/") and path.endswith(one.removeprefix("/v1"))), "")
            text, status = f"the gateway has no route {path}." + (f" Did you mean {near}?" if near else ""), 404
        return _told(face, Fault(status, "not_found", UsageError(text)))

    return lost


# --- listening --------------------------------------------------------------------------------------------------------


class Listening(NamedTuple):
    """The open doors."""

    runners: tuple[web.AppRunner, ...]
    socket: str
    http: str
    token: str

    async def aclose(self) -> None:
        """Closes the doors: calls under way may end for `GRACE_S` seconds, then are cancelled."""
        await asyncio.gather(*(runner.cleanup() for runner in self.runners))
        if self.socket:
            _remove(self.socket)


async def listen(door: Door, *, unix: bool = HAS_UNIX_SOCKETS) -> Listening:
    """Opens the doors.

    Args:
        door: the gateway.
        unix: whether the owner has a socket; otherwise a token, by TCP.

    Raises:
        ConfigError: the port is taken, the socket's folder is not safe, or others could come in without a key.
    """
    host, port = door.settings.gateway.host, door.settings.gateway.port
    local = is_loopback(host)
    if not local:
        _check_open(door, host, unix=unix)
    token = "" if unix else secrets.token_urlsafe(32)
    threshold = Threshold(host, door.settings.gateway.names)
    runners = []
    tcp = _runner(make_app(door, owner=False, token=token if local else "", threshold=threshold))
    await tcp.setup()
    runners.append(tcp)
    threshold.open(port)
    try:
        await web.TCPSite(tcp, "127.0.0.1" if host == "localhost" else host, port).start()
    except (OSError, OverflowError) as error:
        await tcp.cleanup()
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"the port {port} on {host} cannot be used ({why}); set gateway.port in {door.home.settings_file}, or 0 for a free one"
        ) from None
    port = tcp.addresses[0][1]
    threshold.open(port)
    path = ""
    if unix:
        try:
            path = str(socket_path(door.home))
            own = _runner(make_app(door, owner=True))
            await own.setup()
            runners.append(own)
            await web.UnixSite(own, path).start()
            _owner_only(path)
        except OSError as error:
            for runner in runners:
                await runner.cleanup()
            raise ConfigError(f"the gateway's socket {path!r} cannot be made: {error.strerror or error}") from None
    shown = "127.0.0.1" if host in WILDCARD or host == "localhost" else host
    return Listening(tuple(runners), path, f"http://{f'[{shown}]' if ':' in shown else shown}:{port}", token)


def _check_open(door: Door, host: str, *, unix: bool) -> None:
    """Lets an address be listened on that others can reach, if only virtual keys open it and there is one.

    Raises:
        ConfigError: it cannot be.
    """
    where = f"gateway.host in {door.home.settings_file} is {host!r}, which other machines can reach"
    if not unix:
        raise ConfigError(f"{where}; here the owner comes by TCP too, so that only a loopback address can be used: set 127.0.0.1")
    if not door.gateway.keys.any_live():
        raise ConfigError(f"{where}, and there is no live virtual key: set 127.0.0.1, run `aiplat keys create`, then set it again")


def _owner_only(path: str) -> None:
    Path(path).chmod(0o600)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(app, handler_cancellation=True, access_log=None, keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=GRACE_S)


def socket_path(home: Home) -> Path:
    """Where the owner's socket goes: a folder that only the owner can enter, and nothing at its place.

    Raises:
        ConfigError: the folder belongs to somebody else, or others can enter it.
    """
    folder = home.socket_folder
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    mine = sys.platform == "win32" or about.st_uid == home.path.stat().st_uid
    if not stat.S_ISDIR(about.st_mode) or not mine:
        raise ConfigError(
            f"{folder} is not a folder of yours, so the gateway's socket would not be safe in it; remove it, or set XDG_RUNTIME_DIR"
        )
    folder.chmod(0o700)
    path = folder / "gateway.sock"
    path.unlink(missing_ok=True)
    return path
