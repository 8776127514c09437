"""Settings: each mistake gets one sentence that names the key; references are resolved late and never shown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from aiplat_lab.core import settings as settings_module
from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import Home, Secret, environment, parse, secret


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('curency = "GBP"', "no setting 'curency'. Did you mean currency, residency?"),
        ('currency = "GPB"', "must be one of 'USD', 'GBP', 'EUR'. Did you mean GBP?"),
        ("a =", "not valid TOML"),
        ('[providers.openai]\nknd = "openai"', "no setting 'knd'. Did you mean kind?"),
        ('[providers.openai]\nbase_url = "http://x"', "the setting 'kind' is missing"),
        ('[providers.openai]\nkind = "openai"\napi_key = "sk-live-0123456789"', "never the key itself"),
        ('[models.fast]\ndeployments = [{ provider = "opeanai", model = "x" }]', "which is not set up"),
        ("[models.fast]\ndeployments = []", "is empty"),
        ('[[budgets]]\nlimit_usd = "lots"', "budgets[0].limit_usd must be a number, not 'lots'"),
        ("[[budgets]]\nlimit_usd = -1", "0 or more"),
        ("[[budgets]]\nlimit_usd = nan", "0 or more"),
        ('[[budgets]]\nlimit_usd = 1\nprovider = "opeanai"', "budgets[0].provider is 'opeanai', which is not set up"),
        ('[[budgets]]\nlimit_usd = 1\ntag = "nightly"', "write name=value"),
        ('[[limits]]\nrpm = 1\nteam = "a"\nuser = "b"', "one scope at most"),
        ('time_zone = "Mars/Base"', "not an IANA time zone"),
        ("[gateway]\nport = true", "must be a whole number"),
        ("models = 3", "must be a table"),
        ('[teams.risk]\nresidency = "uk"', "must be a list"),
    ],
)
def test_a_mistake_is_one_clear_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert said in caught.value.message
    assert "aiplat.toml" in caught.value.message
    assert "sk-live" not in caught.value.message
    assert len(caught.value.message.encode()) <= 800
    assert "\n" not in caught.value.message


def test_the_example_of_the_design_is_read() -> None:
    read = parse(
        """
currency = "GBP"
[providers.openai]
kind = "openai"
base_url = "https://api.openai.com/v1"
api_key = "keyring:openai"
region = "us"
[models.fast]
strategy = "ordered"
deployments = [
  { provider = "openai", model = "gpt-5-mini", rpm = 500, tpm = 200_000 },
  { provider = "local", model = "smollm2", input_usd_per_mtok = 0, output_usd_per_mtok = 0 },
]
[teams.risk]
cost_centre = "CC-104"
residency = ["uk", "eu"]
models = ["fast", "careful"]
[[budgets]]
team = "risk"
limit_usd = 250.0
period = "month"
hard = true
alert_at = [0.5, 0.8, 1.0]
"""
    )
    first, second = read.deployments("fast")
    assert (first.name, first.region, first.rpm, first.price) == ("openai/gpt-5-mini", "us", 500, None)
    assert second.region == "local"
    assert second.price is not None
    assert second.price.input_usd_per_mtok == 0
    assert read.teams["risk"].residency == ("uk", "eu")
    assert read.budgets[0].limit_usd == Decimal("250.0")
    assert read.budgets[0].scope == ("team", "risk")


def test_a_model_can_be_named_with_its_provider() -> None:
    read = parse('[providers.mine]\nkind = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n')
    assert [d.name for d in read.deployments("mine/any-model")] == ["mine/any-model"]
    assert read.deployments("other/any-model") == ()
    assert read.deployments("nothing") == ()
    assert [d.name for d in read.deployments("smollm2")] == ["local/smollm2"]


def test_a_home_without_settings_has_the_embedded_models(home: Home) -> None:
    assert set(home.load().models) == {"smollm2", "smollm2-lite", "smollm2-broken", "minilm"}


def test_a_home_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Set AIPLAT_HOME to a folder you can write"):
        Home(tmp_path / "file" / "home").create()


def test_a_home_with_spaces_and_letters_beyond_ascii(tmp_path: Path) -> None:
    home = Home(tmp_path / "Büro für Analyse ✓ long " / ("x" * 120)).create()
    assert home.spool.is_dir()
    assert len(str(home.socket_folder / "gateway.sock").encode()) < 100


def test_settings_that_are_not_text(home: Home) -> None:
    home.settings_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        home.load()


def test_keys_are_read_late_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "sk-canary-7f3a9c1e5b2d8f40"
    monkeypatch.setenv("SOME_KEY", canary)
    file = tmp_path / "key"
    file.write_text(canary + "\n")
    for reference in ("env:SOME_KEY", f"file:{file}"):
        found = secret(reference)
        assert found.reveal() == canary
        assert canary not in f"{found} {found!r}"
    assert not secret("")


@pytest.mark.parametrize("reference", ["env:NOT_THERE_AT_ALL", "file:/not/there", "plain"])
def test_a_missing_key_names_its_reference(reference: str) -> None:
    with pytest.raises(ConfigError) as caught:
        secret(reference)
    assert "key" in caught.value.message


def test_a_secret_prints_as_stars() -> None:
    assert f"{Secret('abc')}" == repr(Secret("abc")) == "***"


def test_the_environment_attributes_calls(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_TEAM", "risk")
    monkeypatch.setenv("AIPLAT_PROJECT", "churn")
    found = environment()
    assert (found.attribution.team, found.attribution.project) == ("risk", "churn")
    assert found.home.path == home.path


def test_every_setting_says_what_it_means() -> None:
    """Each field of each table is followed by a docstring, from which the documentation is made."""
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(settings_module))
    mute = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if isinstance(field, ast.AnnAssign) and not said and "Settings" not in ast.unparse(field.annotation):
                    mute.append(f"{node.name}.{ast.unparse(field.target)}")
    assert mute == []
