"""One Jupyter server for the tests of the relay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jupyterkit import Jupyter, jupyter

from aiplat_lab.core.settings import Home


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A server that starts no gateway by itself; one for the whole file."""
    folder = tmp_path_factory.mktemp("relay")
    home = Home(folder / "home").create()
    with jupyter(folder / "jupyter", home.path, "--AiplatLab.start_gateway=False") as running:
        yield running
        running.ask("aiplat/api/stop", method="POST")
