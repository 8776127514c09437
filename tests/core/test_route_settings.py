"""Settings of routing that cannot be meant are refused, with the key and what to do."""

from __future__ import annotations

import pytest

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import parse

UP = '[providers.up]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'


def model(more: str = "", entry: str = "") -> str:
    deployments = f'{{ provider = "up", model = "large"{entry} }}, {{ provider = "up", model = "small" }}'
    return f"{UP}[models.m]\ndeployments = [{deployments}]\n{more}"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (model(entry=", weight = 0"), r"models\.m\.deployments\[0\]\.weight is 0; it must be above 0"),
        (model(entry=", weight = -1.5"), r"weight is -1\.5"),
        (model(entry=", weight = nan"), r"weight is nan"),
        (model(entry=", weight = inf"), r"weight is inf"),
        (model("hedge_after_s = 0"), r"models\.m\.hedge_after_s is 0; it must be a number of seconds above 0"),
        (model("hedge_after_s = -1"), r"hedge_after_s is -1"),
        (model('[[models.m.rules]]\nuse = ["up/lrge"]'), r"rules\[0\]\.use names 'up/lrge', .* Did you mean up/large"),
        (model("[[models.m.rules]]\nuse = []"), r"rules\[0\]\.use is empty; name at least one deployment: up/large, up/small"),
        (model('[[models.m.rules]]\nuse = ["up/large"]\ntag = "stage"'), r"rules\[0\]\.tag is 'stage'; write name=value"),
        (model('[[models.m.rules]]\nuse = ["up/large"]\nmodality = "imgae"'), r"modality is 'imgae'; .* Did you mean image\?"),
        (
            model('[[models.m.rules]]\nuse = ["up/large"]\nmin_input_tokens = 9\nmax_input_tokens = 3'),
            r"min_input_tokens is 9 and max_input_tokens 3",
        ),
        (model('[[models.m.rules]]\nteam = "risk"'), r"'use' is missing"),
        (model('strategy = "cheap"'), r"Did you mean cheapest\?"),
        (UP + "breaker_failures = -1", r"providers\.up\.breaker_failures is -1; it must be 0 or more \(0 switches the breaker off\)"),
        (UP + "breaker_open_s = 0", r"providers\.up\.breaker_open_s is 0; it must be a number of seconds above 0"),
        (UP + "retries = -2", r"providers\.up\.retries is -2"),
        (UP + "timeout_s = 0", r"providers\.up\.timeout_s is 0"),
        (UP + "first_token_timeout_s = -3", r"first_token_timeout_s is -3"),
        (UP + "[gateway]\nretry_share = -0.1", r"gateway\.retry_share is -0\.1"),
    ],
)
def test_what_cannot_be_meant_is_refused(toml: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(toml)


def test_what_can_be_meant_passes() -> None:
    toml = model('hedge_after_s = 1\nstrategy = "weighted"\n[[models.m.rules]]\nuse = ["up/small"]\ntag = "stage=test"\n', ", weight = 3")
    settings = parse(toml + UP.replace("up]", "off]") + "breaker_failures = 0\nretries = 0\n[gateway]\nretry_share = 0\n")
    assert settings.models["m"].rules[0].use == ("up/small",) and settings.models["m"].hedge_after_s == 1.0
    assert settings.providers["off"].breaker_failures == 0
