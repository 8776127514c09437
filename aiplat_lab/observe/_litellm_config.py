"""A LiteLLM proxy's `config.yaml` as settings of ours, and a line about everything that does not carry over.

Keys in clear are never copied. Prices keep every digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiplat_lab.core.settings import SETTINGS_FILE, parse
from aiplat_lab.observe import _marked_yaml, _toml
from aiplat_lab.observe._litellm_hosts import KEYLESS, KINDS, VARIABLES
from aiplat_lab.observe._marked_yaml import Marked, Path

SOURCE = "litellm-config"
_MILLION = Decimal(1_000_000)
_LAST = Decimal("0.000000001")
"""The share of a deployment that is there for when all others fail."""
_PRICES = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cache_read_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_usd_per_mtok",
    "output_cost_per_reasoning_token": "reasoning_usd_per_mtok",
}
_NUMBERS = {"rpm": "rpm", "tpm": "tpm", "max_parallel_requests": "parallel"}
_INFO_NUMBERS = {"max_output_tokens": "max_output_tokens", "max_input_tokens": "context_tokens"}
_LACKS = {"supports_function_calling": "tools", "supports_vision": "images", "supports_response_schema": "json_schema"}
_STRATEGIES = {
    "simple-shuffle": "weighted",
    "usage-based-routing": "weighted",
    "usage-based-routing-v2": "weighted",
    "least-busy": "fastest",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}
_PERIODS = {"1d": "day", "24h": "day", "1w": "week", "7d": "week", "1mo": "month", "30d": "month", "31d": "month"}
_SECRETS = frozenset(
    {"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "vertex_credentials", "azure_ad_token", "client_secret"}
)
_LEAD = "# Made by `aiplat import litellm-config`; what does not carry over was listed then.\n\n"


@dataclass(slots=True)
class Left:
    """Something that could not be carried over."""

    line: int
    setting: str
    why: str

    def to_json(self) -> dict[str, Any]:
        """The line, the setting and the reason."""
        return {"line": self.line, "setting": self.setting, "why": self.why}


@dataclass(slots=True)
class Converted:
    """Settings as TOML, and what is not in them."""

    toml: str = ""
    left_out: list[Left] = field(default_factory=list)
    providers: int = 0
    models: int = 0


def convert(raw: bytes, *, source: str = SOURCE) -> Converted:
    """The settings that a LiteLLM configuration stands for.

    Raises:
        UsageError: it is no YAML, or no configuration.
        ConfigError: what it says is nothing that our settings can hold.
    """
    marked = _marked_yaml.read(raw, source=source)
    return _Conversion(marked).made()


class _Conversion:
    """One configuration on its way."""

    def __init__(self, marked: Marked) -> None:
        self._marked = marked
        self._data: Mapping[str, Any] = marked.data
        self._left: list[Left] = []
        self._providers: dict[str, dict[str, Any]] = {}
        self._models: dict[str, list[dict[str, Any]]] = {}
        self._tables: list[str] = []
        self._litellm = self._section("litellm_settings")
        self._router = self._section("router_settings")

    def made(self) -> Converted:
        """Everything, checked by our own reader of settings."""
        entries = self._data.get("model_list") or []
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            self._entry(entry, ("model_list", index))
        if not isinstance(entries, list):
            self._leave(("model_list",), "it must be a list")
        self._aliases()
        own = {name: len(deployments) for name, deployments in self._models.items()}
        self._fallbacks()
        strategy = self._strategy()
        self._settings()
        self._rest()
        text = self._text(strategy, own)
        parse(text)
        self._left.sort(key=lambda one: one.line)
        return Converted(text, self._left, len(self._providers), len(self._models))

    def _text(self, strategy: str, own: Mapping[str, int]) -> str:
        parts = [_LEAD.rstrip("\n") + "\n"]
        parts += [_toml.table(f"[providers.{_toml.key(name)}]", fields) for name, fields in self._providers.items()]
        for name, deployments in self._models.items():
            chosen = strategy if own.get(name, 0) > 1 else "ordered"
            if chosen == "weighted":
                deployments = [{**one, "weight": _LAST} if index >= own[name] else one for index, one in enumerate(deployments)]
            parts.append(_toml.table(f"[models.{_toml.key(name)}]", {"strategy": chosen, "deployments": deployments}))
        return "\n".join([*parts, *self._tables])

    # --- parts ------------------------------------------------------------------------------------------------------

    def _section(self, name: str) -> Mapping[str, Any]:
        found = self._data.get(name) or {}
        if not isinstance(found, Mapping):
            self._leave((name,), "it must be a mapping")
            return {}
        return found

    def _leave(self, path: Path, why: str) -> None:
        self._left.append(Left(self._marked.line(path), ".".join(map(str, path)), why))

    def _entry(self, entry: Any, path: Path) -> None:  # Any: what YAML holds
        """One entry of the list of models: a deployment of its name."""
        params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        name = str(entry.get("model_name") or "") if isinstance(entry, Mapping) else ""
        if not isinstance(params, Mapping) or not name or not isinstance(params.get("model"), str):
            self._leave(path, "an entry needs model_name, and litellm_params with a model")
            return
        if "*" in name or "*" in params["model"]:
            self._leave((*path, "model_name"), "wildcards are not needed: any model of a provider is called as provider/model")
            return
        custom = params.get("custom_llm_provider")
        prefix, slash, model = params["model"].partition("/")
        if isinstance(custom, str) and custom:
            prefix, model = custom, model if slash and prefix == custom else params["model"]
        elif not slash or prefix not in KINDS:
            prefix, model = ("openai", params["model"]) if not slash else (prefix, model)
        kind = KINDS.get(prefix)
        if kind is None:
            self._leave((*path, "litellm_params", "model"), f"there is no provider like {prefix!r} here; the deployment is left out")
            return
        if prefix == "openai" and not slash and model.startswith("claude"):
            kind, prefix = "anthropic", "anthropic"
        provider = self._provider(prefix, kind, params, (*path, "litellm_params"))
        deployment = {"provider": provider, "model": model, **self._deployment(params, (*path, "litellm_params"))}
        info = entry.get("model_info")
        if isinstance(info, Mapping):
            deployment.update(self._info(info, (*path, "model_info")))
        self._models.setdefault(name, []).append(deployment)
        for other in entry.keys() - {"model_name", "litellm_params", "model_info"}:
            self._leave((*path, other), "it has no place in a deployment")

    def _provider(self, prefix: str, kind: str, params: Mapping[str, Any], path: Path) -> str:
        """The name of the provider with this address and key; entries that share them share it."""
        fields: dict[str, Any] = {"kind": kind}
        base = self._address(params.get("api_base") or params.get("base_url"), path)
        if base:
            fields["base_url"] = base
        reference = self._key(prefix, params.get("api_key"), (*path, "api_key"))
        if reference:
            fields["api_key"] = reference
        for theirs, ours in (("api_version", "api_version"), ("vertex_project", "project"), ("vertex_location", "location")):
            self._text_field(params, theirs, fields, ours, path)
        self._text_field(params, "aws_region_name", fields, "location", path)
        self._seconds(params, "timeout", fields, "timeout_s", path)
        self._seconds(params, "stream_timeout", fields, "first_token_timeout_s", path)
        if isinstance(params.get("max_retries"), int) and not isinstance(params.get("max_retries"), bool):
            fields["retries"] = params["max_retries"]
        if isinstance(params.get("organization"), str) and not params["organization"].startswith("os.environ/"):
            fields["headers"] = {"OpenAI-Organization": params["organization"]}
        elif params.get("organization"):
            self._leave((*path, "organization"), "only one organisation, written out, carries over as a header")
        for known, about in self._providers.items():
            if about == fields:
                return known
        names = (prefix if number == 1 else f"{prefix}-{number}" for number in range(1, 10_000))
        name = next(one for one in names if one not in self._providers)
        self._providers[name] = fields
        return name

    def _text_field(self, params: Mapping[str, Any], theirs: str, fields: dict[str, Any], ours: str, path: Path) -> None:
        found = params.get(theirs)
        if found is None:
            return
        if isinstance(found, str) and found.startswith("os.environ/"):
            self._leave((*path, theirs), f"it stands in the variable {found.removeprefix('os.environ/')}; write its value as {ours}")
        else:
            fields[ours] = str(found)

    def _seconds(self, params: Mapping[str, Any], theirs: str, fields: dict[str, Any], ours: str, path: Path) -> None:
        found = params.get(theirs)
        if isinstance(found, int | Decimal) and not isinstance(found, bool) and found > 0:
            fields[ours] = float(found)
        elif found is not None:
            self._leave((*path, theirs), "it is no number of seconds")

    def _address(self, found: Any, path: Path) -> str:
        if found is None:
            return ""
        where = (*path, "api_base")
        text = str(found)
        if text.startswith("os.environ/"):
            self._leave(where, f"it stands in the variable {text.removeprefix('os.environ/')}; write the address as base_url")
            return ""
        if "@" in text.partition("://")[2].partition("/")[0] or "?" in text:
            self._leave(where, "the address holds a user or a query, which may be a secret; write it as base_url without them")
            return ""
        return text

    def _key(self, prefix: str, found: Any, path: Path) -> str:
        """The reference to a key, which is never the key itself."""
        variable = VARIABLES.get(prefix, f"{prefix.upper().replace('-', '_')}_API_KEY")
        if isinstance(found, str) and found.startswith("os.environ/"):
            return f"env:{found.removeprefix('os.environ/')}"
        if found:
            self._leave(
                path,
                f"a key in clear is not copied: set {variable}, and run `aiplat keys adopt {variable}`; "
                "whoever could read the file should be thought to know the key",
            )
        return "" if not found and prefix in KEYLESS else f"env:{variable}"

    def _deployment(self, params: Mapping[str, Any], path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for theirs, ours in _NUMBERS.items():
            self._whole(params, theirs, made, ours, path)
        if isinstance(params.get("weight"), int | Decimal) and not isinstance(params["weight"], bool) and params["weight"] > 0:
            made["weight"] = params["weight"]
        elif params.get("weight") is not None:
            self._leave((*path, "weight"), "a weight is a number above 0")
        self._text_field(params, "region_name", made, "region", path)
        made.update(self._money(params, path))
        known = {
            "model",
            "api_key",
            "api_base",
            "base_url",
            "api_version",
            "vertex_project",
            "vertex_location",
            "aws_region_name",
            "timeout",
        }
        known |= {"stream_timeout", "max_retries", "organization", "weight", "region_name", "custom_llm_provider", *_NUMBERS, *_PRICES}
        for name in params.keys() - known:
            secret = name in _SECRETS or "key" in name or "secret" in name or ("token" in name and "cost" not in name)
            why = "it may be a secret and is not copied; `aiplat keys adopt` takes keys in" if secret else "it has no place in a deployment"
            self._leave((*path, name), why)
        return made

    def _whole(self, found: Mapping[str, Any], theirs: str, made: dict[str, Any], ours: str, path: Path) -> None:
        number = found.get(theirs)
        if isinstance(number, int) and not isinstance(number, bool) and number > 0:
            made[ours] = number
        elif number is not None:
            self._leave((*path, theirs), "it is no whole number above 0")

    def _money(self, found: Mapping[str, Any], path: Path) -> dict[str, Decimal]:
        """Prices a token as prices a million tokens, to the last digit."""
        made: dict[str, Decimal] = {}
        for theirs, ours in _PRICES.items():
            price = found.get(theirs)
            if isinstance(price, str):
                price = _decimal(price)
            if isinstance(price, int | Decimal) and not isinstance(price, bool) and Decimal(price).is_finite() and price >= 0:
                made[ours] = (Decimal(price) * _MILLION).normalize() + 0
            elif found.get(theirs) is not None:
                self._leave((*path, theirs), "it is no price")
        return made

    def _info(self, info: Mapping[str, Any], path: Path) -> dict[str, Any]:
        made: dict[str, Any] = dict(self._money(info, path))
        for theirs, ours in _INFO_NUMBERS.items():
            self._whole(info, theirs, made, ours, path)
        lacks = [ours for theirs, ours in _LACKS.items() if info.get(theirs) is False]
        if lacks:
            made["lacks"] = lacks
        for name in info.keys() - {*_PRICES, *_INFO_NUMBERS}:
            if name in _LACKS and isinstance(info[name], bool):
                continue
            self._leave((*path, name), "it has no place in a deployment")
        return made

    # --- routing ----------------------------------------------------------------------------------------------------

    def _aliases(self) -> None:
        aliases = self._router.get("model_group_alias") or {}
        for alias, name in aliases.items() if isinstance(aliases, Mapping) else ():
            target = name.get("model") if isinstance(name, Mapping) else name
            if str(target) in self._models and alias not in self._models:
                self._models[str(alias)] = list(self._models[str(target)])
            else:
                self._leave(("router_settings", "model_group_alias", alias), f"there is no model {str(target)[:60]!r}, or the alias is one")

    def _fallbacks(self) -> None:
        """The deployments of fallback models, after a model's own."""
        before = {name: list(deployments) for name, deployments in self._models.items()}
        for section, found in (("litellm_settings", self._litellm), ("router_settings", self._router)):
            entries = found.get("fallbacks") or []
            for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
                for name, others in entry.items() if isinstance(entry, Mapping) else (("", None),):
                    self._fall_back(str(name), others, before, (section, "fallbacks", index))
            others = found.get("default_fallbacks")
            for name in before if others else ():
                self._fall_back(name, others, before, (section, "default_fallbacks"))
            for name in ("context_window_fallbacks", "content_policy_fallbacks"):
                if found.get(name):
                    self._leave(
                        (section, name), "a fallback happens for whatever another deployment can do better; write it as a deployment"
                    )

    def _fall_back(self, name: str, others: Any, before: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
        if name not in before or not isinstance(others, list):
            self._leave(path, f"there is no model {name[:60]!r} to fall back from" if name not in before else "it must be a list")
            return
        for other in others:
            if str(other) not in before:
                self._leave(path, f"there is no model {str(other)[:60]!r} to fall back to")
                continue
            self._models[name] += [one for one in before[str(other)] if one not in self._models[name]]

    def _strategy(self) -> str:
        wanted = str(self._router.get("routing_strategy") or "simple-shuffle")
        if wanted not in _STRATEGIES:
            self._leave(("router_settings", "routing_strategy"), f"{wanted[:40]!r} has no counterpart; calls are spread by weight")
        elif wanted in ("usage-based-routing", "usage-based-routing-v2", "least-busy"):
            self._leave(
                ("router_settings", "routing_strategy"), f"{wanted} becomes {_STRATEGIES[wanted]}; rpm and tpm hold calls back as before"
            )
        return _STRATEGIES.get(wanted, "weighted")

    # --- settings ---------------------------------------------------------------------------------------------------

    def _settings(self) -> None:
        """Budgets, time limits, retries and the cache."""
        if self._litellm.get("max_budget") is not None:
            path = ("litellm_settings", "max_budget")
            self._budget(self._litellm["max_budget"], self._litellm.get("budget_duration"), {}, path)
        providers = self._router.get("provider_budget_config") or {}
        for prefix, one in providers.items() if isinstance(providers, Mapping) else ():
            about = one if isinstance(one, Mapping) else {}
            for name in [known for known in self._providers if known == prefix or known.startswith(f"{prefix}-")]:
                self._budget(about.get("budget_limit", about.get("max_budget")), about.get("time_period", about.get("budget_duration")),
                             {"provider": name}, ("router_settings", "provider_budget_config", prefix))  # fmt: skip
        timeout = self._litellm.get("request_timeout") or self._router.get("timeout")
        retries = self._litellm.get("num_retries", self._router.get("num_retries"))
        for fields in self._providers.values():
            if isinstance(timeout, int | Decimal) and not isinstance(timeout, bool) and timeout > 0:
                fields.setdefault("timeout_s", float(timeout))
            if isinstance(retries, int) and not isinstance(retries, bool) and retries >= 0:
                fields.setdefault("retries", retries)
        self._teams()
        if self._litellm.get("cache") is True:
            params = self._litellm.get("cache_params")
            ttl = params.get("ttl") if isinstance(params, Mapping) else None
            fields = {"enabled": True, **({"ttl_s": float(ttl)} if isinstance(ttl, int | Decimal) and ttl > 0 else {})}
            self._tables.append(_toml.table("[cache]", fields))
            for name in (params if isinstance(params, Mapping) else {}).keys() - {"ttl"}:
                self._leave(("litellm_settings", "cache_params", name), "the cache lives in the gateway and needs no server")

    def _teams(self) -> None:
        teams = self._litellm.get("default_team_settings")
        for index, team in enumerate(teams if isinstance(teams, list) else []):
            path = ("litellm_settings", "default_team_settings", index)
            name = team.get("team_id") if isinstance(team, Mapping) else None
            if not name:
                self._leave(path, "it names no team")
                continue
            self._tables.append(_toml.table(f"[teams.{_toml.key(str(name))}]", {}))
            for other in team.keys() - {"team_id", "max_budget", "budget_duration"}:
                self._leave((*path, other), "it has no place in a team")
            if team.get("max_budget") is not None:
                self._budget(team["max_budget"], team.get("budget_duration"), {"team": str(name)}, (*path, "max_budget"))

    def _budget(self, limit: Any, duration: Any, scope: Mapping[str, str], path: Path) -> None:  # Any: what YAML holds
        period = "total" if duration is None else _PERIODS.get(str(duration))
        limit = _decimal(limit) if isinstance(limit, str) else limit
        if period is None or not isinstance(limit, int | Decimal) or isinstance(limit, bool) or limit < 0:
            self._leave(path, f"a budget is a sum of US dollars a day, week or month; {str(limit)[:20]} for {str(duration)[:20]} is none")
            return
        self._tables.append(_toml.table("[[budgets]]", {**scope, "limit_usd": limit, "period": period}))

    def _rest(self) -> None:
        """Whatever was not looked at, so that nothing is dropped unseen."""
        known = {"fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "num_retries", "timeout"}
        seen = {
            "litellm_settings": known
            | {"max_budget", "budget_duration", "request_timeout", "cache", "cache_params", "default_team_settings"},
            "router_settings": known | {"routing_strategy", "model_group_alias", "provider_budget_config"},
            "general_settings": set(),
        }
        for section, names in seen.items():
            found = self._data.get(section)
            for name in found.keys() - names if isinstance(found, Mapping) else ():
                self._leave((section, name), _WHY.get(name, "it has no counterpart here"))
        for name in self._data.keys() - {"model_list", *seen}:
            self._leave((name,), _WHY.get(name, "it has no counterpart here"))


_WHY: Mapping[str, str] = {
    "master_key": "nobody needs one: the owner comes through a socket, everybody else with a key of `aiplat keys create`",
    "database_url": "there is no database to run: the ledger is a file of the gateway",
    "callbacks": "metrics stand at /metrics; spans go out by [telemetry]",
    "success_callback": "every call is in the ledger; metrics stand at /metrics, spans go out by [telemetry]",
    "failure_callback": "every failure is in the ledger; metrics stand at /metrics, spans go out by [telemetry]",
    "drop_params": "what a provider has no word for is left out and flagged, or refused by name",
    "environment_variables": "variables may be secrets and are not copied; `aiplat keys adopt` takes keys in",
    "redis_host": "there is no Redis to run: one process counts",
    "redis_password": "there is no Redis to run: one process counts",
    "redis_port": "there is no Redis to run: one process counts",
    "guardrails": "see [redaction] for personal data and keys",
    "include": "the files it names are configurations of their own: import each",
}


def _decimal(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip())
    except ArithmeticError:
        return None
    return found if found.is_finite() else None


__all__ = ["SETTINGS_FILE", "Converted", "Left", "convert"]
