"""`%ai route` and `%config AiMagics.route_sdks` in a real kernel: SDK calls carry the notebook and the cell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from served import Served, served

TABLES = '[models.gpt-5-mini]\ndeployments = [{ provider = "up", model = "echo" }]\n'
ASK = """
import openai
said = openai.OpenAI().chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "from a cell"}])
print(said.choices[0].message.content)
"""


class Kernel:
    """A kernel that is asked cell by cell."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=env, cwd=str(cwd))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, cell_id: str) -> str:
        """All that a cell printed or showed."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True}
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell_id}
        self.client.shell_channel.send(message)
        shown = []
        while True:
            got = self.client.get_iopub_msg(timeout=30)
            if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            content = got["content"]
            shown.append(str(content.get("text") or (content.get("data") or {}).get("text/plain") or content.get("evalue") or ""))
            if got["msg_type"] == "status" and content["execution_state"] == "idle":
                return "".join(shown)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("route") / "home", tables=TABLES) as found:
        found.client.status()
        yield found


@pytest.fixture(scope="module")
def kernel(place: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_PROJECT"):
            patch.delenv(name, raising=False)
        patch.setenv("AIPLAT_HOME", str(place.home.path))
        patch.setenv("AIPLAT_TEAM", "risk")
        patch.setenv("JPY_SESSION_NAME", "analysis/Überblick.ipynb")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        found = Kernel(dict(os.environ), folder)
    found.run("%load_ext aiplat_lab", "load")
    yield found
    found.close()


def test_one_line_and_sdk_calls_carry_the_notebook_and_the_cell(place: Served, kernel: Kernel):
    assert "%ai route on sends them" in kernel.run("%ai route", "state")
    assert "go through the gateway" in kernel.run("%ai route on", "on")
    assert kernel.run(ASK, "cell-17") == "from a cell\n"
    row = place.client.call(place.rows(limit=1)[0]["call_id"])
    assert (row["surface"], row["team"], row["notebook"], row["cell_id"]) == ("sdk", "risk", "analysis/Überblick.ipynb", "cell-17")
    thread = "import threading\nt = threading.Thread(target=lambda: exec(" + repr(ASK) + ", {}))\nt.start(); t.join()"
    assert "from a cell" in kernel.run(thread, "cell-18")
    assert place.client.call(place.rows(limit=1)[0]["call_id"])["notebook"] == "analysis/Überblick.ipynb"
    awaited = ASK.replace("openai.OpenAI().", "await openai.AsyncOpenAI().")
    assert kernel.run(awaited, "cell-19") == "from a cell\n"
    assert place.client.call(place.rows(limit=1)[0]["call_id"])["cell_id"] == "cell-19"


def test_it_ends_by_a_word_and_stands_as_a_setting(place: Served, kernel: Kernel):
    before = len(place.rows())
    assert "%ai route on sends them" in kernel.run("%ai route off", "off")
    assert "api_key" in kernel.run(ASK, "no-key")  # the SDK misses its key again
    kernel.run("%config AiMagics.route_sdks = True", "config")
    assert kernel.run(ASK, "setting") == "from a cell\n"
    assert len(place.rows()) == before + 1
    assert "write %ai route on" in kernel.run("%ai route upwards", "wrong")
