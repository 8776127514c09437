"""All of `aiplat.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from aiplat_lab.core.settings._parts import (
    CacheSettings,
    GatewaySettings,
    PriceSettings,
    ReplaySettings,
    ReportSettings,
    RetentionSettings,
    TelemetrySettings,
)
from aiplat_lab.core.settings._providers import DeploymentSettings, ModelSettings, ProviderSettings, region_of
from aiplat_lab.core.settings._rules import (
    BudgetSettings,
    LimitSettings,
    ProjectSettings,
    RedactionSettings,
    ResidencySettings,
    TeamSettings,
)
from aiplat_lab.core.types import Deployment, Price

SETTINGS_FILE = "aiplat.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of `aiplat.toml`."""

    currency: Literal["USD", "GBP", "EUR"] = "USD"
    """The currency of display; the ledger keeps US dollars."""
    usd_rate: Decimal = Decimal(1)
    """How many units of `currency` one US dollar is worth; used for display alone."""
    time_zone: str = "UTC"
    """The IANA zone in which budget periods and days begin."""
    default_model: str = "smollm2"
    """The model of a cell that names none."""
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    teams: Mapping[str, TeamSettings] = field(default_factory=dict)
    projects: Mapping[str, ProjectSettings] = field(default_factory=dict)
    budgets: tuple[BudgetSettings, ...] = ()
    limits: tuple[LimitSettings, ...] = ()
    residency: tuple[ResidencySettings, ...] = ()
    prices: tuple[PriceSettings, ...] = ()
    redaction: RedactionSettings = field(default_factory=RedactionSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    reports: ReportSettings = field(default_factory=ReportSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)

    def deployments(self, model: str) -> tuple[Deployment, ...]:
        """The deployments behind a name a user types: a name of `[models]`, or `provider/model`; empty if unknown."""
        if model in self.models:
            return tuple(self._deployment(entry) for entry in self.models[model].deployments)
        provider, slash, name = model.partition("/")
        if slash and name and provider in self.providers and self.providers[provider].kind != "local":
            return (self._deployment(DeploymentSettings(provider=provider, model=name)),)
        return ()

    def transports(self) -> dict[str, str]:
        """The names of transports, by the setting that holds each."""
        named = {f"{SETTINGS_FILE}: gateway.transport": self.gateway.transport}
        own = {f"{SETTINGS_FILE}: providers.{name}.transport": one.transport for name, one in self.providers.items()}
        return named | {setting: name for setting, name in own.items() if name}

    def _deployment(self, entry: DeploymentSettings) -> Deployment:
        provider = self.providers[entry.provider]
        price = None
        if entry.input_usd_per_mtok is not None and entry.output_usd_per_mtok is not None:
            price = Price(
                version=SETTINGS_FILE,
                input_usd_per_mtok=entry.input_usd_per_mtok,
                output_usd_per_mtok=entry.output_usd_per_mtok,
                cache_read_usd_per_mtok=entry.cache_read_usd_per_mtok,
                cache_write_usd_per_mtok=entry.cache_write_usd_per_mtok,
                cache_write_1h_usd_per_mtok=entry.cache_write_1h_usd_per_mtok,
                reasoning_usd_per_mtok=entry.reasoning_usd_per_mtok,
            )
        return Deployment(
            provider=entry.provider,
            model=entry.model,
            region=entry.region or region_of(provider),
            price=price,
            max_output_tokens=entry.max_output_tokens,
            context_tokens=entry.context_tokens,
            rpm=entry.rpm,
            tpm=entry.tpm,
            parallel=entry.parallel,
            weight=entry.weight,
            service_tier=entry.service_tier,
            lacks=frozenset(entry.lacks),
            timeout_s=provider.timeout_s,
            retries=provider.retries,
        )
