"""From TOML to settings: every key known, every value of its type, every reference leading somewhere."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from decimal import Decimal
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aiplat_lab.core.errors import ConfigError, did_you_mean
from aiplat_lab.core.settings._all import SETTINGS_FILE, Settings
from aiplat_lab.core.settings._price_checks import check_prices
from aiplat_lab.core.settings._providers import BUILT_IN_MODELS, BUILT_IN_PROVIDERS, DeploymentSettings
from aiplat_lab.core.settings._routes import check_routes
from aiplat_lab.core.settings._rules import BUDGET_SCOPES, LIMIT_SCOPES, LimitSettings


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
        if provider.api_key and scheme not in {"vault", "keyring", "env", "file", "command"}:
            raise ConfigError(
                f"{source}: providers.{name}.api_key must be a reference, vault:NAME, keyring:NAME, env:NAME, file:PATH or "
                "command:PROGRAM …, never the key itself"
            )
    for name, model in settings.models.items():
        if not model.deployments:
            raise ConfigError(f"{source}: models.{name}.deployments is empty; name at least one provider and model")
        for entry in model.deployments:
            if entry.provider not in settings.providers:
                raise ConfigError(
                    f"{source}: models.{name} uses the provider {entry.provider!r}, which is not set up."
                    + did_you_mean(entry.provider, settings.providers)
                )
    _check_rules(settings, source)
    check_routes(settings, source)
    check_prices(settings, source)
    zones = {"time_zone": settings.time_zone}
    zones |= {f"budgets[{index}].time_zone": budget.time_zone for index, budget in enumerate(settings.budgets) if budget.time_zone}
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # 20 ms that a kernel's import need not pay

    for where, zone in zones.items():
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError(f"{source}: {where} {zone!r} is not an IANA time zone, such as Europe/London") from None


def _check_rules(settings: Settings, source: str) -> None:
    for index, budget in enumerate(settings.budgets):
        scopes = [name for name in BUDGET_SCOPES if getattr(budget, name)]
        if len(scopes) > 1:
            raise ConfigError(f"{source}: budgets[{index}] names {' and '.join(scopes)}; a budget has one scope at most")
    _check_limits(settings, source)
    _check_cache(settings, source)
    for index, entry in enumerate(settings.residency):
        if not entry.regions:
            raise ConfigError(f"{source}: residency[{index}].regions is empty; name at least one region, such as uk")
    tags = [(f"budgets[{index}]", budget.tag) for index, budget in enumerate(settings.budgets)]
    tags += [(f"residency[{index}]", entry.tag) for index, entry in enumerate(settings.residency)]
    for where, tag in tags:
        if tag and not all(tag.partition("=")):
            raise ConfigError(f"{source}: {where}.tag is {tag!r}; write name=value")


def _check_limits(settings: Settings, source: str) -> None:
    for index, limit in enumerate(settings.limits):
        scopes = [name for name in LIMIT_SCOPES if getattr(limit, name)]
        if len(scopes) > 1:
            raise ConfigError(f"{source}: limits[{index}] names {' and '.join(scopes)}; a limit has one scope at most")
        _check_figures(f"{source}: limits[{index}]", limit)
        if limit.rpm is limit.tpm is limit.parallel is None:
            raise ConfigError(f"{source}: limits[{index}] limits nothing; give it rpm, tpm or parallel")
    for name, model in settings.models.items():
        for index, entry in enumerate(model.deployments):
            _check_figures(f"{source}: models.{name}.deployments[{index}]", entry)
    for name, team in settings.teams.items():
        if not 0 < team.weight < math.inf:
            raise ConfigError(f"{source}: teams.{name}.weight is {team.weight:g}; it must be a number above 0")
    if not 0 <= settings.gateway.queue_s < math.inf:
        raise ConfigError(f"{source}: gateway.queue_s is {settings.gateway.queue_s:g}; it must be 0 (nobody waits) or more seconds")


def _check_figures(where: str, limit: LimitSettings | DeploymentSettings) -> None:
    for name in ("rpm", "tpm", "parallel"):
        value = getattr(limit, name)
        if value is not None and value < 1:
            raise ConfigError(
                f"{where}.{name} is {value}; it must be 1 or more. Leave it out for no limit; to let nobody call, revoke keys."
            )


def _check_cache(settings: Settings, source: str) -> None:
    cache = settings.cache
    if not 0 <= cache.ttl_s < math.inf:
        raise ConfigError(f"{source}: cache.ttl_s is {cache.ttl_s:g}; it must be 0 (nothing is kept) or more seconds")
    if cache.max_mb < 0:
        raise ConfigError(f"{source}: cache.max_mb is {cache.max_mb}; it must be 0 or more")
    if not 0 < cache.semantic_threshold <= 1:
        raise ConfigError(f"{source}: cache.semantic_threshold is {cache.semantic_threshold:g}; it must be above 0 and at most 1")
    if cache.semantic and not settings.deployments(cache.semantic_model):
        raise ConfigError(
            f"{source}: cache.semantic_model {cache.semantic_model!r} is no model." + did_you_mean(cache.semantic_model, settings.models)
        )
