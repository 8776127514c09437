"""`route_sdks()`: the calls that other SDKs make in this process go through the gateway, with the notebook's identity."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterable, Mapping
from types import ModuleType, TracebackType

from aiplat_lab.client._aimed import Aimed
from aiplat_lab.client._hosts import KEYS, PLACEHOLDER, Bases, way
from aiplat_lab.client._identity import identity
from aiplat_lab.client._patches import LIBRARIES, Arrivals, Patch, patches
from aiplat_lab.client._wire import Target
from aiplat_lab.core.errors import AiplatError, UsageError, did_you_mean
from aiplat_lab.core.settings import environment, lend, take_back
from aiplat_lab.core.types import CacheMode

_MODES = ("auto", "on", "refresh", "off")
_lock = threading.RLock()
_now: Routing | None = None
"""What routes at this moment."""
_patched: dict[str, list[Patch]] = {}
"""What is changed of each library while calls are routed."""
_lent: set[str] = set()
"""The variables that hold a placeholder of ours."""


class Routing:
    """SDK calls of this process go through the gateway, until `off()` or the end of its `with` block."""

    def __init__(self, *, team: str, project: str, tags: Mapping[str, str], cache: str, also: Bases) -> None:
        self._team, self._project, self._tags, self._cache = team, project, dict(tags), cache
        self._also = also
        self._before: Routing | None = None

    def aim(self, scheme: str, host: str, port: int | None, path: str) -> Aimed | None:
        """How a request is changed, or None where it is left alone."""
        found = way(scheme, host, port, path, self._also)
        if found is None:
            return None
        known = environment()
        target = Target(home=known.home, url=known.gateway, key=known.key)
        who = identity(team=self._team, project=self._project, tags=self._tags)
        return Aimed(target=target, way=found, who=who, cache=self._cache)

    @property
    def active(self) -> bool:
        """Whether it routes now."""
        return _now is self

    def off(self) -> None:
        """SDK calls go where they went before; again changes nothing."""
        if self.active:
            _set(None)

    def __enter__(self) -> Routing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.active:
            _set(self._before)

    def __repr__(self) -> str:
        if not self.active:
            return "SDK calls go where they went before; route_sdks() sends them through the gateway"
        about = [f"team {self._team}" if self._team else "", f"project {self._project}" if self._project else ""]
        booked = ", ".join(filter(None, about))
        more = f", and {len(self._also.prefixes)} further base URLs" if self._also.prefixes else ""
        return (
            f"calls of the OpenAI, Anthropic, Google and LiteLLM SDKs go through the gateway{more}"
            f"{', booked to ' + booked if booked else ''}; route_sdks(False) ends it"
        )


def route_sdks(
    on: bool = True,
    *,
    team: str = "",
    project: str = "",
    tags: Mapping[str, str] | None = None,
    cache: CacheMode = "auto",
    also: Iterable[str] = (),
) -> Routing:
    """Sends the calls of the OpenAI, Anthropic, Google and LiteLLM SDKs of this process through the gateway, or no longer.

    It does not matter whether an SDK is imported, or a client made, before or after. Called again, it takes the new options.
    As `with route_sdks(): …` it ends with the block.

    Args:
        on: False ends it.
        team: who pays; empty takes `AIPLAT_TEAM`.
        project: what it is for; empty takes `AIPLAT_PROJECT`.
        tags: tags of each call.
        cache: whether a question that was answered before may be answered from the ledger: `auto` where its temperature is 0 or its
            seed is set, `on` always.
        also: further base URLs, of services that speak OpenAI's wire, whose calls are routed too.

    Raises:
        UsageError: a base URL is none, or there is no such cache mode.
    """
    if cache not in _MODES:
        raise UsageError(f"cache is {str(cache)[:40]!r}; it must be {', '.join(_MODES)}.{did_you_mean(str(cache), _MODES)}")
    routing = Routing(team=team, project=project, tags=tags or {}, cache=cache, also=Bases.of(also))
    with _lock:
        routing._before = _now
        _set(routing if on else None)
    return routing


def routed() -> Routing | None:
    """What routes SDK calls now, if anything."""
    return _now


def _set(routing: Routing | None) -> None:
    global _now
    with _lock:
        if routing is None:
            _now = None
            _arrivals.remove()
            for patch in (one for made in _patched.values() for one in made):
                patch.undo()
            for name in list(_lent):
                take_back(name, PLACEHOLDER)
            _lent.clear()
            return
        for name in LIBRARIES:
            if name in sys.modules:
                _meet(sys.modules[name])
        _arrivals.install()
        _lent.update(name for name, enough in KEYS if lend(name, PLACEHOLDER, unless=enough))
        _now = routing


def _meet(module: ModuleType) -> None:
    with _lock:
        if module.__name__ not in _patched:
            try:
                _patched[module.__name__] = patches(module, routed)
            except AiplatError as error:  # which must not keep anybody from importing the library
                _patched[module.__name__] = []
                warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        for patch in _patched[module.__name__]:
            patch.apply()


_arrivals = Arrivals(_meet)
