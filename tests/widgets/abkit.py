"""What the tests of A/B comparisons share: a home with priced models at the fault server, and experiments that nobody shows."""

from __future__ import annotations

from typing import Any

from aiplat_lab.client import Client
from aiplat_lab.core.place import Place
from aiplat_lab.widgets._begin import Options, prepare
from aiplat_lab.widgets._experiment import Experiment

WATCHED = Place("work/notes.ipynb", "cell-1", False, True)
MODELS = """
[models."{name}"]
deployments = [{{ provider = "up", model = "{name}", input_usd_per_mtok = 2, output_usd_per_mtok = 8 }}]
"""
TABLES = "".join(MODELS.format(name=name) for name in ("echo", "instant", "slow-stream", "cut-stream", "stream-1000", "echo@b"))
TWO = [{"name": "plain", "model": "echo"}, {"name": "polite", "model": "echo", "prompt": "Please: {{ input }}"}]


def begun(client: Client, variants: Any = None, inputs: Any = "hello there", **options: Any) -> Experiment:
    """An experiment as a watched notebook begins it, asked but not shown."""
    made = prepare(TWO if variants is None else variants, inputs, Options(rater="ann", **options), here=WATCHED, client=client)
    made.start()
    return made
