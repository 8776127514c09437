"""Presidio as an extra: said when it is missing; where it is installed, it adds names and places to what is masked."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
from faults import FaultServer
from gatewaykit import ask, model, world

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import Home
from aiplat_lab.policies._presidio import MODEL

TOML = '[redaction]\ninput = "mask"\npresidio = true\ndetectors = ["email", "person", "location"]\n'
INSTALLED = importlib.util.find_spec("presidio_analyzer") is not None


@pytest.mark.skipif(INSTALLED, reason="Presidio is installed")
def test_without_presidio_the_setting_says_what_to_install(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        with pytest.raises(ConfigError, match=r"pip install .aiplat-lab\[presidio\]"):
            async with world(home, upstream, TOML + model("m", "echo")):
                pass

    asyncio.run(run())


@pytest.fixture
def spacy_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """spaCy's model, or a small one of that name that knows one person and one place by rule."""
    import spacy

    if spacy.util.is_package(MODEL):
        return
    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns(
        [{"label": "PERSON", "pattern": "Ada Lovelace"}, {"label": "GPE", "pattern": "Nottingham"}]
    )
    package, about = tmp_path / MODEL, tmp_path / f"{MODEL}-3.8.0.dist-info"
    package.mkdir()
    about.mkdir()
    pipeline.to_disk(package / f"{MODEL}-3.8.0")
    (package / "__init__.py").write_text(
        "from pathlib import Path\nfrom spacy.util import load_model_from_path\n\n\n"
        f"def load(**more):\n    return load_model_from_path(Path(__file__).parent / '{MODEL}-3.8.0', **more)\n"
    )
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODEL}\nVersion: 3.8.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()


@pytest.mark.skipif(not INSTALLED, reason="Presidio is not installed")
@pytest.mark.filterwarnings("ignore")
def test_names_and_places_are_masked(home: Home, upstream: FaultServer, spacy_model: None) -> None:
    text = "Ada Lovelace of Nottingham writes to ada@example.com"

    async def run() -> None:
        async with world(home, upstream, TOML + model("m", "echo@names")) as here:
            answer = await here.gateway.handle(ask("m", text))
            assert answer.text == text
            sent = upstream.requests[-1].body["messages"][0]["content"]
            assert sent == "<PERSON_1> of <LOCATION_1> writes to <EMAIL_1>"
            assert here.row(answer.call_id)["findings"] == {"person": "1 masked", "location": "1 masked", "email": "1 masked"}

    asyncio.run(run())


def test_presidio_is_not_imported_unless_asked_for() -> None:
    assert "presidio_analyzer" not in sys.modules or INSTALLED
