"""A gateway with a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import Served, served


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A home whose gateway is shared by the tests of one file; each takes a prompt name of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT"):
            patch.delenv(name, raising=False)
        with served(tmp_path_factory.mktemp("prompts") / "home") as one:
            yield one
