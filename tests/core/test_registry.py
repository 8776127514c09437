from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from aiplat_lab.core import registry
from aiplat_lab.core.errors import ConfigError


def test_built_in_plugins_are_also_entry_points() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(registry.BUILT_IN.values()) <= set(project["entry-points"][registry.GROUP].values())


def test_a_built_in_plugin_is_found_without_installed_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: ())
    assert registry.find("provider", "openai") is import_module("aiplat_lab.providers.openai").OpenAI
    assert {"openai", "anthropic", "local"} <= set(registry.names("provider"))


def test_an_unknown_name_offers_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: ())
    with pytest.raises(ConfigError, match=r"no provider called 'openia'. Did you mean openai"):
        registry.find("provider", "openia")


def test_a_plugin_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_found", dict(registry._found))

    @registry.register("scorer", "mine")
    def mine() -> None: ...

    assert registry.find("scorer", "mine") is mine
