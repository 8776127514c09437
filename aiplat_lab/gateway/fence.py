"""The last looks before a request leaves: whether it could, and that no provider is asked for a deployment that the rules keep from the
caller.

The policy has taken such deployments from the call long before. This stands where every path ends, so that what retries, falls back,
hedges or counts cannot leave the regions either, whatever it made its choice from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import Settings, present
from aiplat_lab.core.types import Chunk, Deployment, Provider, Request, Response
from aiplat_lab.policies import Residency


def available(settings: Settings, deployment: Deployment) -> bool:
    """Whether a call could be sent there: the wire format is known, and the key is there where that is quick to tell."""
    provider = settings.providers[deployment.provider]
    try:
        find("provider", provider.kind)
    except ConfigError:
        return False
    return present(provider.api_key)


def fenced(provider: Provider, residency: Residency) -> Provider:
    """The provider, behind the rules; itself where there are none."""
    return cast("Provider", _Fenced(provider, residency)) if residency.active else provider


class _Fenced:
    """A provider whose every way out asks the rules first."""

    def __init__(self, provider: Provider, residency: Residency) -> None:
        self._provider = provider
        self._permits = residency.permits

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """As the provider's."""
        self._permits(request.attribution, deployment)
        return await self._provider.chat(request, deployment)

    def stream(self, request: Request, deployment: Deployment) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """As the provider's."""
        self._permits(request.attribution, deployment)
        return self._provider.stream(request, deployment)

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """As the provider's."""
        self._permits(request.attribution, deployment)
        return await self._provider.embed(request, deployment)

    async def aclose(self) -> None:
        """As the provider's."""
        await self._provider.aclose()

    def __getattr__(self, name: str) -> Any:  # Any: what a provider can do beyond its protocol
        found = getattr(self._provider, name)
        return self._behind(found) if name == "count_tokens" else found

    def _behind(self, ask: Any) -> Any:  # Any: as above
        async def behind(request: Request, deployment: Deployment) -> Any:  # Any: as above
            self._permits(request.attribution, deployment)
            return await ask(request, deployment)

        return behind
