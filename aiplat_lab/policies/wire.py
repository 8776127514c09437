"""What can be said in the caller's wire alone: it goes to deployments of that wire, or the call is refused; nothing is lost unseen."""

from __future__ import annotations

from aiplat_lab.core.errors import CapabilityRefused, ConfigError
from aiplat_lab.core.registry import find, register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, Deployment, utc_now
from aiplat_lab.ledger import Ledger


@register("policy", "wire")
class Wire:
    """Keeps a call that holds what only its own wire can say from deployments of other wires, fallbacks included.

    What a deployment of another wire can do without is left out, and the row says so.
    """

    name = "wire"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._kinds = {name: provider.kind for name, provider in settings.providers.items()}
        self._wires: dict[str, frozenset[str]] = {}

    async def before(self, call: Call) -> None:
        """Raises `CapabilityRefused` when no deployment is left."""
        request = call.request
        if not request.native and not request.hints:
            return
        kept = tuple(one for one in call.deployments if request.wire in self._spoken(one))
        if request.native and not kept:
            raise CapabilityRefused(
                f"{request.model!r} is served by another wire than {request.wire}, which has no word for {', '.join(request.native)}. "
                f"Leave it out, or use a model whose provider speaks {request.wire}.",
                policy=self.name,
                native=list(request.native),
            )
        if request.native:
            call.deployments = kept
        elif not kept:
            _flag(call)

    async def after(self, call: Call) -> None:
        """Flags what the deployment that was asked did not get."""
        if call.request.hints and call.deployment is not None and call.request.wire not in self._spoken(call.deployment):
            _flag(call)

    def _spoken(self, deployment: Deployment) -> frozenset[str]:
        """The wires in which a caller's body passes through to a deployment unchanged."""
        kind = self._kinds.get(deployment.provider, "")
        found = self._wires.get(kind)
        if found is None:
            try:
                provider = find("provider", kind)
            except ConfigError:  # the route says so when it comes to it
                return frozenset()
            found = self._wires[kind] = frozenset(getattr(provider, "wires", ()) or (provider.wire,))
        return found


def _flag(call: Call) -> None:
    call.flags.extend(flag for name in call.request.hints if (flag := f"ignored_{name}") not in call.flags)
