"""Settings of the gateway process, the cache, reports, retention, telemetry, and the local price book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`[gateway]`: the local gateway process."""

    port: int = 0
    """The loopback HTTP port for SDKs; 0 takes a free one."""
    host: str = "127.0.0.1"
    """The address to listen on. Any but a loopback one is refused until there is a virtual key."""
    names: tuple[str, ...] = ()
    """Further names under which others reach it, such as `ai.example.org` or `127.0.0.1:9000` through a tunnel."""
    idle_s: float = 3600.0
    """Seconds without a client after which the gateway stops; 0 never stops it, and a schedule that is switched on keeps it."""
    durability: Literal["process", "power"] = "process"
    """`process`: an acknowledged call survives `kill -9`; `power`: also a power cut, a few milliseconds dearer."""
    max_body_mb: int = 32
    """The largest request that is taken, in megabytes."""
    transport: str = "aiohttp"
    """How requests travel to providers: `aiohttp`, `httpx`, or the name of a plug-in."""
    batch_poll_s: float = 60.0
    """Seconds between two looks at an open batch."""
    queue_s: float = 30.0
    """The longest a call waits for a place under a limit, in seconds, unless its own time limit is shorter."""
    retry_share: float = 0.2
    """Retries and fallbacks together, as a share of all calls to a model; a burst of ten is always allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """`[cache]`: the exact cache."""

    enabled: bool = True
    """Whether identical requests may be answered from the ledger."""
    ttl_s: float = 30 * 86_400.0
    """Seconds for which an answer stays valid; 0 keeps none."""
    max_mb: int = 64
    """The most memory that kept answers take, in megabytes; older ones are read from the ledger."""
    shared: bool = False
    """Whether teams read each other's answers."""
    semantic: bool = False
    """Whether a question that means the same may be answered too, within the guards that `docs/gateway.md` names."""
    semantic_model: str = "minilm"
    """The model that compares questions."""
    semantic_threshold: float = 0.9
    """The least cosine similarity of two questions that count as the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """`[replay]`: answers that a notebook gets again when it is run again, however old they are."""

    mode: Literal["auto", "only", "refresh", "off"] = "auto"
    """What a notebook's cell does that says nothing else. `auto`: an answer that is known is given again; `only`: nothing is ever sent;
    `refresh`: every cell asks again; `off`: nothing is given again and nothing is kept for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """`[reports]`: how report notebooks are run."""

    timeout_s: float = 600.0
    """The longest a report may take, in seconds."""
    max_output_mb: int = 50
    """The largest executed notebook, in megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """`[retention]`: how long calls have to be held. Reports measure against it; nothing is deleted by it."""

    floor_days: int = 183
    """The shortest time for which the log must hold calls, in days; six months unless a longer one is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """`[telemetry]`: spans for the organisation's own collector."""

    otlp_endpoint: str = ""
    """The base URL of an OTLP/HTTP collector; empty sends nothing. Needs `pip install aiplat-lab[otel]`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the collector; a value may be a reference such as `env:NAME`."""
    content: bool = False
    """Whether spans carry what was asked and answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """One `[[prices]]` entry: the local price book, which wins over the price list; entries are added, never edited.

    Of the entries that fit a call, the most specific one counts (a full model name, then the longest pattern, then one that names a
    provider, then one that names a region), and of equal ones the one with the latest `since`.
    """

    model: str
    """The model's name at its provider; `*` stands for any text."""
    provider: str = ""
    """The name under `[providers]`; empty is any."""
    region: str = ""
    """The deployment's region; empty is any."""
    service_tier: str = ""
    """The tier that was paid: `flex`, `priority`, `batch`, …; empty is the standard one, `*` any."""
    since: str = ""
    """The first day on which it holds, such as 2026-01-01 (UTC); empty is from the beginning."""
    until: str = ""
    """The day on which it ends; empty is open."""
    discount: Decimal = Decimal(0)
    """A share taken off, such as 0.15, of these prices and of the listed ones where the entry has none."""
    input_usd_per_mtok: Decimal | None = None
    """US dollars a million input tokens; empty takes the listed price."""
    output_usd_per_mtok: Decimal | None = None
    """US dollars a million output tokens; empty takes the listed price."""
    cache_read_usd_per_mtok: Decimal | None = None
    """US dollars a million input tokens read from the provider's prompt cache; empty takes the listed price."""
    cache_write_usd_per_mtok: Decimal | None = None
    """US dollars a million input tokens written to the provider's prompt cache; empty takes the listed price."""
    cache_write_1h_usd_per_mtok: Decimal | None = None
    """US dollars a million input tokens written to the provider's prompt cache for an hour; empty takes the listed price."""
    reasoning_usd_per_mtok: Decimal | None = None
    """US dollars a million reasoning tokens; empty takes the listed price, or what output costs."""
    other_usd: Mapping[str, Decimal] = field(default_factory=dict)
    """US dollars for one of each other unit, such as `images`, `web_searches`, `requests`, `audio_seconds`, `input_audio_tokens`."""
