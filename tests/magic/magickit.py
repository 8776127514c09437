"""A shell with the magic loaded, and what a cell of it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faults import FaultServer
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from aiplat_lab.client import Client
from aiplat_lab.core.settings import Home

MIME = "application/vnd.aiplat.call+json"
CANARY = "sk-canary-0123456789abcdef0123456789abcdef"
SETTINGS = """
currency = "GBP"
usd_rate = 0.5
default_model = "echo"
[providers.up]
kind = "openai"
base_url = "{url}"
api_key = "env:UP_KEY"
region = "uk"
retries = 0
[providers.closed]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
retries = 0
[models.echo]
deployments = [{{ provider = "up", model = "echo", input_usd_per_mtok = 2, output_usd_per_mtok = 8 }}]
[models.dear]
deployments = [{{ provider = "up", model = "instant", input_usd_per_mtok = 2000000, output_usd_per_mtok = 2000000 }}]
[models.retried]
deployments = [{{ provider = "again", model = "status-429-after-1" }}]
[providers.again]
kind = "openai"
base_url = "{url}"
api_key = "env:UP_KEY"
[[budgets]]
team = "tight"
limit_usd = 0.01
period = "month"
"""


@dataclass
class Ran:
    """What one cell gave."""

    error: BaseException | None
    printed: str
    complaints: str
    outputs: list[dict[str, Any]]

    @property
    def call(self) -> dict[str, Any]:
        """Our own MIME type of the one output."""
        assert len(self.outputs) == 1, self.outputs
        return self.outputs[0]["data"][MIME]


@dataclass
class Lab:
    """A home with a gateway, its upstream, and a shell."""

    home: Home
    upstream: FaultServer
    client: Client
    shell: InteractiveShell

    def run(self, cell: str, *, numbered: bool = False) -> Ran:
        """Runs a cell; a numbered one stands in `In`, `Out` and `Err`."""
        with capture_output() as seen:
            result = self.shell.run_cell(cell, store_history=numbered)
        outputs = [{"data": one.data, "metadata": one.metadata, "transient": one.transient, "update": one.update} for one in seen.outputs]
        return Ran(result.error_before_exec or result.error_in_exec, seen.stdout, seen.stderr, outputs)

    def row(self, call_id: str) -> dict[str, Any]:
        return self.client.call(call_id)

    def calls(self) -> int:
        return int(self.client.view_rows("totals")[0]["calls"])


def make_shell() -> InteractiveShell:
    """A fresh shell with the magic loaded and no history file."""
    settings = Config()
    settings.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=settings)
    shell.colors = "nocolor"
    shell.run_line_magic("load_ext", "aiplat_lab")
    return shell
