"""A provider and a policy in a distribution of its own, installed as anybody would, work in a gateway of its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import FaultServer
from served import Served, stop, write_settings

from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError, ContentRefused
from aiplat_lab.core.settings import Home

PLUGIN = Path(__file__).resolve().parents[1] / "plugin"
ROOT = PLUGIN.parents[1]
TABLES = """
[providers.echo]
kind = "words-echo"
[models.echo]
deployments = [{ provider = "echo", model = "words", input_usd_per_mtok = 50000, output_usd_per_mtok = 100000 }]
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that finds the plug-in, installed into a folder of its own."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("home")
    options = ["-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(PLUGIN)], check=True, capture_output=True)
    home = Home(folder).create()
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), str(ROOT)])
    try:
        with FaultServer(key="upstream-key-0123456789") as upstream:
            write_settings(home, upstream, tables=TABLES)
            try:
                with connect(home) as client:
                    yield Served(home, upstream, client)
            finally:
                stop(home)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def test_the_provider_answers_streams_and_embeds(there: Served) -> None:
    answer = there.client.chat("one  two three", model="echo")
    assert (answer.text, answer.finish_reason) == ("one two three", "stop")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, str(answer.cost_usd)) == (3, 3, "0.450000000")
    with there.client.stream("one two", model="echo", cache="off") as chunks:
        assert list(chunks) == ["one ", "two "]
    assert there.client.embed(["a b", "c"], model="echo").embeddings == ((2.0,), (1.0,))


def test_the_policy_tags_and_refuses(there: Served) -> None:
    answer = there.client.chat("four words are here", model="echo", cache="off")
    assert answer.notes["words-refused"] == "0"
    (row,) = there.client.view_rows("call", call_id=answer.call_id)
    assert row["tags"] == {"words": "4"}
    with pytest.raises(ContentRefused, match=r"the question has 1001 words; it may have 1000") as caught:
        there.client.chat("word " * 1001, model="echo")
    (refused,) = there.client.view_rows("call", call_id=caught.value.call_id)
    assert (refused["status"], refused["policy"]) == ("refused", "words-limit")
    assert int(there.client.chat("x", model="echo", cache="off").notes["words-refused"]) == 1


def test_a_gateway_without_the_plug_in_says_that_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    home = Home(tmp_path).create()
    home.settings_file.write_text(TABLES)
    try:
        with connect(home) as client, pytest.raises(AiplatError, match=r"there is no provider called 'words-echo'"):
            client.chat("x", model="echo")
    finally:
        stop(home)


@pytest.mark.parametrize("file", ["__init__.py", "echo_provider.py", "long_policy.py"])
def test_a_small_plug_in_is_small(file: str) -> None:
    assert len((PLUGIN / "aiplat_words" / file).read_text().splitlines()) <= 40


def test_the_documentation_shows_the_plug_in_that_is_tested() -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    for file in ("__init__.py", "echo_provider.py", "long_policy.py"):
        assert (PLUGIN / "aiplat_words" / file).read_text().strip() in page, file
