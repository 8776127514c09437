"""The settings: `aiplat.toml`, the environment, and the files of one `AIPLAT_HOME`.

This is the only module that reads the environment. Each setting is declared once, as a field with its default and
its meaning; the documentation is generated from here. An unknown key is refused with the nearest known name.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aiplat_lab.core.errors import ConfigError, did_you_mean
from aiplat_lab.core.types import Attribution, Deployment, Price

SETTINGS_FILE = "aiplat.toml"


class Secret:
    """A text that prints as `***`; `reveal` is called at the last moment, in a provider."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """`[providers.NAME]`: where a provider is, and the reference to its key."""

    kind: str
    """The wire format: `openai`, `anthropic`, `local`, or a plug-in's name."""
    base_url: str = ""
    """Empty takes the kind's own address."""
    api_key: str = ""
    """A reference, never the key itself: `keyring:NAME`, `env:NAME` or `file:PATH`."""
    region: str = ""
    """Where the provider computes: `uk`, `eu`, `us`, `local`, …; empty is unknown."""
    timeout_s: float = 120.0
    """The longest a call may take, in seconds."""
    connect_timeout_s: float = 10.0
    """The longest to wait for a connection, in seconds."""
    read_timeout_s: float = 60.0
    """The longest silence within an answer, in seconds."""
    retries: int = 2
    """How often a call that failed in a passing way is sent again."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further request headers, such as an organisation's id."""
    threads: int = 1
    """`local` only: compute threads of the worker."""
    slots: int = 2
    """`local` only: how many calls the worker computes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """One entry of `deployments` under `[models.NAME]`."""

    provider: str
    """The name under `[providers]`."""
    model: str
    """The model's name at that provider."""
    region: str = ""
    """Overrides the provider's region."""
    rpm: int | None = None
    """Requests a minute that the provider allows. Kept for later: this version does not enforce it."""
    tpm: int | None = None
    """Tokens a minute that the provider allows. Kept for later: this version does not enforce it."""
    weight: float = 1.0
    """Share of the calls under the strategy `weighted`. Kept for later: this version follows `ordered` only."""
    max_output_tokens: int | None = None
    """The most the model can write; the worst case when a caller sets no limit."""
    context_tokens: int | None = None
    """The largest prompt and answer together."""
    input_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens, in US dollars; wins over the price list."""
    output_usd_per_mtok: Decimal | None = None
    """Own price of a million output tokens, in US dollars."""
    cache_read_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens read from the provider's prompt cache, in US dollars."""
    cache_write_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens written to the provider's prompt cache, in US dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """`[models.NAME]`: a name that users type, and the deployments behind it."""

    deployments: tuple[DeploymentSettings, ...]
    """One or more; later ones are tried when earlier ones fail."""
    strategy: Literal["ordered", "cheapest", "fastest", "weighted", "complexity"] = "ordered"
    """The order in which the deployments are tried. This version follows `ordered`; the others are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSettings:
    """`[teams.NAME]`: what a team may use and where its costs are booked."""

    cost_centre: str = ""
    """Booked with each call of the team."""
    residency: tuple[str, ...] = ()
    """The regions that may compute for the team; empty allows all, and an unknown region never matches."""
    models: tuple[str, ...] = ()
    """The models the team may use; empty allows all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """One `[[budgets]]` entry: a limit on what one scope spends in one period."""

    limit_usd: Decimal
    """US dollars."""
    period: Literal["day", "week", "month", "total"] = "month"
    """Days begin at midnight in `time_zone`, weeks on Monday."""
    hard: bool = True
    """Hard budgets refuse; soft ones only show."""
    team: str = ""
    """The team that the budget holds; at most one of team, project, key, user and prompt, none for everyone."""
    project: str = ""
    """The project that the budget holds."""
    key: str = ""
    """The id of the virtual key that the budget holds."""
    user: str = ""
    """The user that the budget holds."""
    prompt: str = ""
    """The prompt that the budget holds."""
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Shares of the limit at which an alert is shown."""

    @property
    def scope(self) -> tuple[str, str]:
        """The kind of the scope and its name, such as `("team", "risk")`; `("everyone", "")` for all."""
        for name in ("team", "project", "key", "user", "prompt"):
            if getattr(self, name):
                return name, getattr(self, name)
        return "everyone", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`[gateway]`: the local gateway process."""

    port: int = 0
    """The loopback HTTP port for SDKs; 0 takes a free one."""
    idle_s: float = 3600.0
    """Seconds without a client after which the gateway stops; 0 never stops it, and a schedule that is switched on keeps it."""
    durability: Literal["process", "power"] = "process"
    """`process`: an acknowledged call survives `kill -9`; `power`: also a power cut, a few milliseconds dearer."""
    max_body_mb: int = 32
    """The largest request that is taken, in megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """`[cache]`: the exact cache."""

    enabled: bool = True
    """Whether identical requests may be answered from the ledger."""
    ttl_s: float = 30 * 86_400.0
    """Seconds for which an answer stays valid."""


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
    budgets: tuple[BudgetSettings, ...] = ()
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
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
            )
        return Deployment(
            provider=entry.provider,
            model=entry.model,
            region=entry.region or provider.region,
            price=price,
            max_output_tokens=entry.max_output_tokens,
            context_tokens=entry.context_tokens,
            rpm=entry.rpm,
            tpm=entry.tpm,
            weight=entry.weight,
            timeout_s=provider.timeout_s,
            retries=provider.retries,
        )


_FREE = Decimal(0)


def _local(model: str) -> ModelSettings:
    entry = DeploymentSettings(
        provider="local", model=model, input_usd_per_mtok=_FREE, output_usd_per_mtok=_FREE, max_output_tokens=1024, context_tokens=2048
    )
    return ModelSettings(deployments=(entry,))


BUILT_IN_PROVIDERS: Mapping[str, ProviderSettings] = {"local": ProviderSettings(kind="local", region="local")}
BUILT_IN_MODELS: Mapping[str, ModelSettings] = {name: _local(name) for name in ("smollm2", "smollm2-lite", "smollm2-broken", "minilm")}
"""The embedded models, there without any settings; an entry of the same name in `aiplat.toml` replaces one."""


# --- reading --------------------------------------------------------------------------------------------------------


def _read(kind: Any, value: Any, where: str) -> Any:  # Any: walks type annotations and TOML values
    """`value` from TOML as the annotated `kind`, or a `ConfigError` that names the key."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in args:
            raise ConfigError(
                f"{where} is {value!r}; it must be one of {', '.join(map(repr, args))}.{did_you_mean(str(value), map(str, args))}"
            )
        return value
    if origin is UnionType:
        return _read(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where} must be a list, written [ … ], not {value!r}")
        return tuple(_read(args[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table, not {value!r}")
        return {key: _read(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if hasattr(kind, "__dataclass_fields__"):
        return _read_table(kind, value, where)
    return _read_plain(kind, value, where)


def _read_plain(kind: Any, value: Any, where: str) -> Any:  # Any: as in `_read`
    if kind is Decimal and isinstance(value, int | Decimal) and not isinstance(value, bool):
        if not Decimal(value).is_finite() or value < 0:
            raise ConfigError(f"{where} must be a number of 0 or more, not {value}")
        return Decimal(value)
    if kind is float and isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    if kind in (bool, str, int) and type(value) is kind:
        return value
    wanted = {str: "a text in quotes", int: "a whole number", float: "a number", Decimal: "a number", bool: "true or false"}
    raise ConfigError(f"{where} must be {wanted.get(kind, kind)}, not {value!r}")


def _read_table(kind: Any, value: Any, where: str) -> Any:  # Any: as in `_read`
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, not {value!r}")
    known = {f.name: f for f in fields(kind)}
    for key in value:
        if key not in known:
            raise ConfigError(f"{where.rstrip(':')}: there is no setting {key!r}.{did_you_mean(key, known)}")
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{where.rstrip(':')}: the setting {name!r} is missing")
    hints = get_type_hints(kind)
    joint = " " if where.endswith(":") else "."
    return kind(**{key: _read(hints[key], item, f"{where}{joint}{key}") for key, item in value.items()})


def parse(text: str, *, source: str = SETTINGS_FILE) -> Settings:
    """The settings written in `text`, with the embedded models added.

    Args:
        text: TOML.
        source: the file's name, for error texts.

    Raises:
        ConfigError: not TOML, an unknown key, a value of the wrong type, a deployment of an unknown provider, a key
            in the clear.
    """
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}. Correct that line, or move the file away to start afresh.") from None
    settings: Settings = _read_table(Settings, data, f"{source}:")
    settings = Settings(
        **{f.name: getattr(settings, f.name) for f in fields(Settings) if f.name not in {"providers", "models"}},
        providers={**BUILT_IN_PROVIDERS, **settings.providers},
        models={**BUILT_IN_MODELS, **settings.models},
    )
    _check(settings, source)
    return settings


def _check(settings: Settings, source: str) -> None:
    """What one key alone cannot show: references between tables, key references, scopes, the time zone."""
    for name, provider in settings.providers.items():
        scheme = provider.api_key.partition(":")[0]
        if provider.api_key and scheme not in {"keyring", "env", "file"}:
            raise ConfigError(
                f"{source}: providers.{name}.api_key must be a reference, keyring:NAME, env:NAME or file:PATH, never the key itself"
            )
    for name, model in settings.models.items():
        if not model.deployments:
            raise ConfigError(f"{source}: models.{name}.deployments is empty; name at least one provider and model")
        if model.strategy != "ordered":
            raise ConfigError(f"{source}: models.{name}.strategy is {model.strategy!r}; this version follows 'ordered' only")
        for entry in model.deployments:
            if entry.provider not in settings.providers:
                raise ConfigError(
                    f"{source}: models.{name} uses the provider {entry.provider!r}, which is not set up."
                    + did_you_mean(entry.provider, settings.providers)
                )
    for index, budget in enumerate(settings.budgets):
        scopes = [name for name in ("team", "project", "key", "user", "prompt") if getattr(budget, name)]
        if len(scopes) > 1:
            raise ConfigError(f"{source}: budgets[{index}] names {' and '.join(scopes)}; a budget has one scope at most")
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # 20 ms that a kernel's import need not pay

    try:
        ZoneInfo(settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"{source}: time_zone {settings.time_zone!r} is not an IANA time zone, such as Europe/London") from None


# --- the environment and the home folder ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Home:
    """One `AIPLAT_HOME`: the folder with the settings, the ledger and the gateway's address."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """`aiplat.toml`."""
        return self.path / SETTINGS_FILE

    @property
    def ledger_file(self) -> Path:
        """`ledger.duckdb`; only the gateway opens it."""
        return self.path / "ledger.duckdb"

    @property
    def spool(self) -> Path:
        """The folder of the spool's segments."""
        return self.path / "spool"

    @property
    def gateway_file(self) -> Path:
        """`gateway.json`: process id, socket, HTTP address, version."""
        return self.path / "gateway.json"

    @property
    def prompts(self) -> Path:
        """The saved prompts as files, which the gateway writes and kernels read; the ledger is what counts."""
        return self.path / "prompts"

    @property
    def log_file(self) -> Path:
        """`gateway.log`."""
        return self.path / "gateway.log"

    @property
    def gateway_lock(self) -> Path:
        """Held with `flock` by the one gateway as long as it lives."""
        return self.path / "gateway.lock"

    @property
    def spawn_lock(self) -> Path:
        """Held with `flock` by the one client that starts a gateway."""
        return self.path / "spawn.lock"

    @property
    def models(self) -> Path:
        """Fetched weights; shared by homes unless `AIPLAT_MODELS` or the home says otherwise."""
        own = os.environ.get("AIPLAT_MODELS")
        return Path(own).expanduser() if own else data_folder() / "models"

    @property
    def socket_folder(self) -> Path:
        """The owner-only folder of the gateway's socket: short, since a socket's path holds at most 107 bytes."""
        digest = hashlib.sha256(str(self.path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        if len(base.encode()) > 60 or not os.access(base, os.W_OK):
            base = "/tmp"  # noqa: S108 (the folder made in it is owner-only and checked)
        uid = os.getuid() if hasattr(os, "getuid") else 0
        return Path(base) / f"aiplat-{uid}-{digest}"

    def load(self) -> Settings:
        """The settings in this home; the built-in ones when it has no `aiplat.toml`.

        Raises:
            ConfigError: as `parse` says, or the file cannot be read.
        """
        try:
            text = self.settings_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.settings_file} cannot be read: {error}") from None
        return parse(text, source=str(self.settings_file))

    def create(self) -> Home:
        """The same home, with its folders there, owner-only.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.spool.mkdir(exist_ok=True, mode=0o700)
            if not os.access(self.path, os.W_OK) or not os.access(self.spool, os.W_OK):
                raise PermissionError(13, "the folder is read-only")
        except OSError as error:
            raise ConfigError(
                f"AIPLAT_HOME {str(self.path)!r} cannot be used: {error.strerror or error}. Set AIPLAT_HOME to a folder you can write."
            ) from None
        return self


def data_folder() -> Path:
    """The platform's folder for a user's data of this application."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "aiplat-lab"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/aiplat-lab").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "aiplat-lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment says, read once."""

    home: Home
    gateway: str = ""
    """`AIPLAT_GATEWAY`: the URL of a shared gateway, before `/v1`."""
    key: Secret = field(default_factory=lambda: Secret(""))
    """`AIPLAT_KEY`: a virtual key."""
    attribution: Attribution = field(default_factory=Attribution)
    """`AIPLAT_TEAM`, `AIPLAT_PROJECT`, the user's name, and the notebook where Jupyter says it."""
    headless: bool = False
    """Whether nobody watches: papermill, nbclient or CI (`AIPLAT_HEADLESS`, `CI`)."""


def environment() -> Environment:
    """The environment of this process, as it is now."""
    get = os.environ.get
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    return Environment(
        home=Home(Path(get("AIPLAT_HOME") or data_folder()).expanduser().absolute()),
        gateway=(get("AIPLAT_GATEWAY") or "").rstrip("/"),
        key=Secret(get("AIPLAT_KEY") or ""),
        attribution=Attribution(
            team=get("AIPLAT_TEAM", ""), project=get("AIPLAT_PROJECT", ""), user_id=user, notebook=get("JPY_SESSION_NAME", "")
        ),
        headless=any(get(name, "").lower() not in {"", "0", "false"} for name in ("AIPLAT_HEADLESS", "CI")),
    )


def enter(home: Home, *, headless: bool = False) -> None:
    """Tells this process and those it starts which home is theirs.

    Args:
        home: the home.
        headless: also that nobody watches.
    """
    os.environ["AIPLAT_HOME"] = str(home.path)
    if headless:
        os.environ["AIPLAT_HEADLESS"] = "1"


def secret(reference: str) -> Secret:
    """The key that a reference names; called by a provider just before it is sent.

    Args:
        reference: `keyring:NAME`, `env:NAME` or `file:PATH`; an empty text gives an empty secret.

    Raises:
        ConfigError: nothing is there; the text says how to put it there and never holds the key.
    """
    if not reference:
        return Secret("")
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(name, "")
        if not value:
            raise ConfigError(f"the key env:{name} is not set in the gateway's environment: export {name}, then run `aiplat stop`")
        return Secret(value)
    if scheme == "file":
        try:
            return Secret(Path(name).expanduser().read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the key file:{name} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    if scheme == "keyring":
        return _from_keyring(name)
    raise ConfigError("a key must be a reference: keyring:NAME, env:NAME or file:PATH")


def _from_keyring(name: str) -> Secret:
    try:
        import keyring  # an optional library, wanted for this kind of reference alone
        from keyring.errors import KeyringError
    except ImportError:
        raise ConfigError(f"keyring:{name} needs the package keyring: pip install keyring") from None
    try:
        value = keyring.get_password("aiplat", name)
    except KeyringError as error:
        raise ConfigError(f"the keyring cannot be read for {name!r}: {error}") from None
    if not value:
        raise ConfigError(f"the keyring has no entry {name!r}: run `keyring set aiplat {name}`")
    return Secret(value)


def shipped(*parts: str) -> Path:
    """A file that comes with the package: `shipped("notebooks", "quickstart.ipynb")`.

    Installed, these lie inside the package; in a checkout, beside it.
    """
    package = Path(__file__).resolve().parent.parent
    inside = package / "_shipped" / Path(*parts)
    return inside if inside.exists() else package.parent / Path(*parts)
