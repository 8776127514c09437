"""A home with a real gateway, the fault server behind it, and a shell with the magic loaded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import FaultServer
from IPython.core.interactiveshell import InteractiveShell
from magickit import CANARY, SETTINGS, Lab, make_shell

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def magic_home(tmp_path_factory: pytest.TempPathFactory, upstream: FaultServer) -> Iterator[Home]:
    """A home whose gateway is shared by the tests of one file."""
    folder = tmp_path_factory.mktemp("magic")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME", "CI", "AIPLAT_HEADLESS"):
            patch.delenv(name, raising=False)
        home = Home(folder / "home").create()
        patch.setenv("AIPLAT_HOME", str(home.path))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("UP_KEY", CANARY)
        home.settings_file.write_text(SETTINGS.format(url=upstream.openai_url), encoding="utf-8")
        yield home
        if home.gateway_file.exists():
            connect(home, spawn=False).stop()


@pytest.fixture
def lab(magic_home: Home, upstream: FaultServer) -> Iterator[Lab]:
    upstream.reset()
    shell = make_shell()
    client = connect(magic_home)
    yield Lab(magic_home, upstream, client, shell)
    client.close()
    InteractiveShell.clear_instance()
