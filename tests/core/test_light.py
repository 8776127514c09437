"""Our own processes start without what takes long and serves nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = "import sys; {load}; print(sorted({{'lark', 'rfc3987_syntax.syntax_helpers'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    "load",
    [
        "import aiplat_lab.reports.__main__, jsonschema",
        "import aiplat_lab.dashboards.__main__ as m; m.leave_out_grammars(); import aiplat_lab.dashboards._server, jsonschema",
    ],
)
def test_no_grammar_is_built(load: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED.format(load=load)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_kernel_leaves_them_out_by_a_statement() -> None:
    from aiplat_lab.core.light import LEAVE_OUT_GRAMMARS

    code = f"{LEAVE_OUT_GRAMMARS}\nimport jsonschema; print('lark' in sys.modules, 'iri' in jsonschema.FormatChecker.checkers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
