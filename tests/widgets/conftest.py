"""One gateway for the tests of a file, with the fault server behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from abkit import TABLES
from served import Served, served


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME", "CI", "AIPLAT_HEADLESS"):
            patch.delenv(name, raising=False)
        folder = tmp_path_factory.mktemp("ab") / "home"
        patch.setenv("AIPLAT_HOME", str(folder))
        patch.setenv("IPYTHONDIR", str(folder.parent / "ipython"))
        with served(folder, tables=TABLES) as one:
            yield one
