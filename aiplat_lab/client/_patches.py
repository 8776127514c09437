"""What is put around the HTTP libraries that SDKs use: a request to a provider leaves for the gateway at the last moment.

`httpx`, its successor `httpx2` and `aiohttp` are given as modules; none of them is imported here, and a library that is
imported later is met by a finder on `sys.meta_path` as soon as it is.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Protocol

from aiplat_lab.client._transports import Ways
from aiplat_lab.core.errors import AiplatError

LIBRARIES = ("httpx", "httpx2", "aiohttp")
"""The libraries that are met."""
_LEFT_ALONE = frozenset({"MockTransport", "ASGITransport", "WSGITransport"})
"""Transports that reach no provider, so that what goes to them is left alone."""


class Router(Protocol):
    """What says where requests go."""

    def aim(self, scheme: str, host: str, port: int | None, path: str) -> Any:
        """How a request is changed, or None where it is left alone."""
        ...


class Patch:
    """One method of one class, with ours around it while calls are routed."""

    def __init__(self, owner: type, name: str, make: Callable[[Any], Any]) -> None:
        self._owner, self._name, self._make = owner, name, make
        self._original = self._ours = owner.__dict__[name]

    def apply(self) -> None:
        """Puts ours around what is there; again changes nothing."""
        there = self._owner.__dict__[self._name]
        if there is not self._ours or there is self._original:
            self._original, self._ours = there, self._make(there)
            setattr(self._owner, self._name, self._ours)

    def undo(self) -> None:
        """Puts back what was there; where somebody else has put theirs over ours since, ours stays and only hands on."""
        if self._owner.__dict__[self._name] is self._ours:
            setattr(self._owner, self._name, self._original)
            self._ours = self._original


def httpx_patches(lib: ModuleType, router: Callable[[], Any]) -> list[Patch]:  # Any: Router | None
    """The patches of `httpx` or `httpx2`.

    Args:
        lib: the module.
        router: gives what routes now; None while nothing is routed.
    """
    ways = Ways(lib)

    def aim(client: Any, request: Any) -> None:  # Any: what the library's own types are
        now = router()
        url = request.url
        if now is None or type(client._transport_for_url(url)).__name__ in _LEFT_ALONE:
            return
        found = now.aim(url.scheme, url.host, url.port, url.path)
        if found is not None:
            found.httpx(lib, request)

    def sync(original: Any) -> Any:
        def _send_single_request(self: Any, request: Any) -> Any:
            aim(self, request)
            return original(self, request)

        return _send_single_request

    def asynchronous(original: Any) -> Any:
        async def _send_single_request(self: Any, request: Any) -> Any:
            aim(self, request)
            return await original(self, request)

        return _send_single_request

    def transport(kind: str) -> Callable[[Any], Any]:
        def around(original: Any) -> Any:
            def _transport_for_url(self: Any, url: Any) -> Any:
                return ways.of(kind) if ways.ours(url) else original(self, url)

            return _transport_for_url

        return around

    return [
        Patch(lib.Client, "_send_single_request", sync),
        Patch(lib.AsyncClient, "_send_single_request", asynchronous),
        Patch(lib.Client, "_transport_for_url", transport("sync")),
        Patch(lib.AsyncClient, "_transport_for_url", transport("async")),
    ]


def aiohttp_patches(lib: ModuleType, router: Callable[[], Any]) -> list[Patch]:  # Any: Router | None
    """The patch of `aiohttp`, as `httpx_patches`."""

    def around(original: Any) -> Any:
        async def _request(self: Any, method: str, str_or_url: Any, **options: Any) -> Any:
            now = router()
            if now is None:
                return await original(self, method, str_or_url, **options)
            url = self._build_url(str_or_url)
            found = now.aim(url.scheme, url.host or "", url.explicit_port, url.raw_path)
            if found is None:
                return await original(self, method, str_or_url, **options)
            return await found.aiohttp(lib, original, self, method, url, options)

        return _request

    return [Patch(lib.ClientSession, "_request", around)]


def patches(lib: ModuleType, router: Callable[[], Any]) -> list[Patch]:  # Any: Router | None
    """The patches of one of `LIBRARIES`; none where its insides are not as they are known, which `AiplatError` says."""
    try:
        return (aiohttp_patches if lib.__name__ == "aiohttp" else httpx_patches)(lib, router)
    except (AttributeError, KeyError) as error:
        version = getattr(lib, "__version__", "of unknown version")
        raise AiplatError(f"SDK calls cannot be routed through {lib.__name__} {version}: it has no {error}") from None


class Arrivals(MetaPathFinder):
    """Meets the libraries that are imported later."""

    def __init__(self, met: Callable[[ModuleType], None]) -> None:
        self._met = met
        self._looking = threading.local()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The library's own spec, whose loader also tells us; None for every other module."""
        if fullname not in LIBRARIES or getattr(self._looking, "now", False):
            return None
        self._looking.now = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.now = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader, self._met)
        return spec

    def install(self) -> None:
        """Looks first from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Looks no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Telling(Loader):
    """A loader that loads as another one does, and then tells of the module."""

    def __init__(self, loader: Any, met: Callable[[ModuleType], None]) -> None:  # Any: an import system's loader
        self._loader = loader
        self._met = met

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the library's own loader."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """As the library's own loader, which stands in its place again, and then the news."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._met(module)
