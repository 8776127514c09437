"""Whether the settings of routing and resilience can work: weights, rules, time limits, breakers."""

from __future__ import annotations

import math

from aiplat_lab.core.errors import ConfigError, did_you_mean
from aiplat_lab.core.settings._all import Settings
from aiplat_lab.core.settings._providers import ModelSettings, ProviderSettings, RuleSettings

_TIMES = ("timeout_s", "first_token_timeout_s", "connect_timeout_s", "read_timeout_s", "breaker_open_s")
_MODALITIES = ("image", "audio")


def check_routes(settings: Settings, source: str) -> None:
    """Lets settings pass under which every call finds its way.

    Raises:
        ConfigError: a weight, a time limit or a rule that cannot be meant.
    """
    for name, provider in settings.providers.items():
        _check_provider(provider, f"{source}: providers.{name}")
    for name, model in settings.models.items():
        _check_model(model, f"{source}: models.{name}")
    share = settings.gateway.retry_share
    if not (math.isfinite(share) and share >= 0):
        raise ConfigError(f"{source}: gateway.retry_share is {share:g}; it must be a share of 0 or more, such as 0.2")


def _check_provider(provider: ProviderSettings, where: str) -> None:
    for name in _TIMES:
        value = getattr(provider, name)
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{where}.{name} is {value:g}; it must be a number of seconds above 0")
    for name, never in (("retries", "0 never sends a call again"), ("breaker_failures", "0 switches the breaker off")):
        if getattr(provider, name) < 0:
            raise ConfigError(f"{where}.{name} is {getattr(provider, name)}; it must be 0 or more ({never})")


def _check_model(model: ModelSettings, where: str) -> None:
    for index, entry in enumerate(model.deployments):
        if not (math.isfinite(entry.weight) and entry.weight > 0):
            text = f"{where}.deployments[{index}].weight is {entry.weight:g}; it must be above 0. Leave a deployment out to send it nothing"
            raise ConfigError(text)
    after_s = model.hedge_after_s
    if after_s is not None and not (math.isfinite(after_s) and after_s > 0):
        raise ConfigError(f"{where}.hedge_after_s is {after_s:g}; it must be a number of seconds above 0. Leave it out to never hedge")
    known = [f"{entry.provider}/{entry.model}" for entry in model.deployments]
    for index, rule in enumerate(model.rules):
        _check_rule(rule, known, f"{where}.rules[{index}]")


def _check_rule(rule: RuleSettings, known: list[str], where: str) -> None:
    if not rule.use:
        raise ConfigError(f"{where}.use is empty; name at least one deployment: {', '.join(known)}")
    for name in rule.use:
        if name not in known:
            near = did_you_mean(name, known) or f" There are {', '.join(known)}."
            raise ConfigError(f"{where}.use names {name!r}, which is no deployment of this model.{near}")
    if rule.tag and not all(rule.tag.partition("=")):
        raise ConfigError(f"{where}.tag is {rule.tag!r}; write name=value")
    if rule.modality and rule.modality not in _MODALITIES:
        near = did_you_mean(rule.modality, _MODALITIES)
        raise ConfigError(f"{where}.modality is {rule.modality!r}; it must be image or audio.{near}")
    least, most = rule.min_input_tokens, rule.max_input_tokens
    if least is not None and most is not None and least > most:
        raise ConfigError(f"{where} holds no length: min_input_tokens is {least} and max_input_tokens {most}")
