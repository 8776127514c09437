"""Notebooks written for jupyter-ai run here as they stand: every documented line, through a real gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compat_cells import ERRORS, V2, V3, Cell
from faults import FaultServer
from IPython.core.interactiveshell import InteractiveShell
from magickit import Lab, make_shell

from aiplat_lab.client import connect
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.settings import Home

_PROVIDERS = ("openai", "anthropic", "ai21", "cohere", "huggingface_hub", "bedrock", "sagemaker-endpoint")
_MODELS = """
default_model = "main"
[models.main]
deployments = [{ provider = "openai", model = "gpt-4o" }]
[models.jumbo]
deployments = [{ provider = "ai21", model = "j2-jumbo-instruct" }]
[models.careful]
deployments = [{ provider = "anthropic", model = "claude-v1.2" }]
[models."openai/json-mode"]
deployments = [{ provider = "openai", model = "echo@json" }]
"""


@pytest.fixture(scope="module")
def compat_home(tmp_path_factory: pytest.TempPathFactory, upstream: FaultServer) -> Iterator[Home]:
    """A home with a provider for each of jupyter-ai's that its documents name."""
    folder = tmp_path_factory.mktemp("compat")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME", "CI", "AIPLAT_HEADLESS"):
            patch.delenv(name, raising=False)
        home = Home(folder / "home").create()
        patch.setenv("AIPLAT_HOME", str(home.path))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        providers = "\n".join(
            f'[providers.{name}]\nkind = "openai"\nbase_url = "{upstream.openai_url}"\nretries = 0' for name in _PROVIDERS
        )
        home.settings_file.write_text(f"{_MODELS}\n{providers}\n", encoding="utf-8")
        yield home
        if home.gateway_file.exists():
            connect(home, spawn=False).stop()


@pytest.fixture
def theirs(compat_home: Home, upstream: FaultServer) -> Iterator[Lab]:
    upstream.reset()
    client = connect(compat_home)
    yield Lab(compat_home, upstream, client, make_shell())
    client.close()
    InteractiveShell.clear_instance()


def _run(lab: Lab, cell: Cell) -> None:
    """Runs a cell and looks at what was asked, sent and shown."""
    before = len(lab.upstream.requests)
    ran = lab.run(cell.source.replace("{base}", lab.upstream.openai_url), numbered=True)
    said = f"{cell.source!r}: {ran.printed} {ran.complaints} {ran.error}"
    assert ran.error is None, said
    sent = lab.upstream.requests[before:]
    assert [one.model for one in sent] == ([cell.asked] if cell.asked else []), said
    text = "\n".join(str(message["content"]) for one in sent for message in one.body["messages"])
    assert cell.sent in text, f"{said}\nsent: {text}"
    shown = ran.printed + ran.complaints + "".join(str(value) for one in ran.outputs for value in one["data"].values())
    assert cell.shown in shown, f"{said}\nshown: {shown}"


@pytest.mark.parametrize("dialect", ["2", "3"])
def test_every_documented_cell_runs(theirs: Lab, dialect: str) -> None:
    theirs.shell.push({"poet": "Ada Lovelace"})
    for cell in {"2": V2, "3": V3}[dialect]:
        _run(theirs, cell)


def test_errors_are_known_by_the_number_of_their_cell(theirs: Lab) -> None:
    for source in ("1", "2/2", "2/0"):
        theirs.shell.run_cell(source, store_history=True)
    for cell in ERRORS:
        _run(theirs, cell)


def test_parameters_are_sent_however_their_json_is_written(theirs: Lab) -> None:
    for text, value in (('{"temperature":0.1}', 0.1), ('{"temperature": 0.2}', 0.2), ("'{\"temperature\": 0.3}'", 0.3)):
        theirs.run(f"%%ai openai/gpt-4o -m {text}\nA number near {value}")
        assert theirs.upstream.requests[-1].body["temperature"] == value


def test_old_names_are_said_to_mean_another_model(theirs: Lab) -> None:
    ran = theirs.run("%%ai chatgpt\nhello")
    assert "chatgpt" in ran.complaints and "main" in ran.complaints


def test_an_address_that_is_no_providers_is_refused(theirs: Lab) -> None:
    """Else a prompt meant for a machine of one's own would go to another place without a word."""
    ran = theirs.run("%%ai openai/gpt-4o --api-base http://127.0.0.1:1/v1\nfor my own machine alone")
    assert isinstance(ran.error, UsageError) and "base_url" in str(ran.error) and not theirs.upstream.requests


def test_a_key_is_not_taken_from_a_cell(theirs: Lab) -> None:
    ran = theirs.run("%%ai openai/gpt-4o --api-key-name sk-0123456789abcdef0123456789\nhello")
    assert isinstance(ran.error, UsageError) and "sk-0123" not in str(ran.error) and not theirs.upstream.requests


def test_code_is_not_run_where_nobody_watches(theirs: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    ran = theirs.run("%%ai openai/gpt-4o --eval\nraised = True")
    assert isinstance(ran.error, UsageError) and "raised" not in theirs.shell.user_ns and not theirs.upstream.requests
    theirs.shell.run_line_magic("config", "AiMagics.allow_eval = True")
    assert theirs.run("%%ai openai/gpt-4o --eval\nprint('allowed')").error is None
    assert theirs.upstream.requests[-1].body["messages"][-1]["content"] == "allowed"


def test_code_that_fails_sends_nothing(theirs: Lab) -> None:
    ran = theirs.run("%%ai openai/gpt-4o --eval\n1/0")
    assert ran.error is not None and "ZeroDivisionError" in str(ran.error) and not theirs.upstream.requests


@pytest.mark.parametrize(
    "line", ["%ai alias", "%ai alias one", "%ai alias list openai/gpt-4o", "%ai alias a:b openai/gpt-4o", "%ai dealias nobody"]
)
def test_wrong_aliases(theirs: Lab, line: str) -> None:
    assert isinstance(theirs.run(line).error, UsageError)
