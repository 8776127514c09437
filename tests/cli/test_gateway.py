"""Commands of the gateway's life, keys, models and the doctor."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clikit import Line, process
from served import KEY, Served

from aiplat_lab.core.settings import Home
from aiplat_lab.gateway.process import held


def ask(http: str, key: str, model: str = "up/echo") -> tuple[int, dict[str, Any]]:
    """One question by HTTP, with a virtual key."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{http}/v1/chat/completions", body, headers), timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_what_is_stopped_is_said_to_be_stopped_and_stays_so(line: Line, home: Home):
    stopped = [{"gateway": "stopped", "home": str(home.path)}]
    assert line("status", "--json").rows == stopped
    said = line("status")
    assert said.code == 0 and "stopped" in said.out and "aiplat start" in said.err
    said = line("stop", "--json")
    assert said.code == 0 and said.rows == stopped and "was not running" in said.err
    said = line("logs")
    assert said.code == 0 and "no log yet" in said.err
    assert not held(home) and not home.gateway_file.exists()


def test_start_status_logs_stop(line: Line, home: Home):
    first = process(home.path, "start", "--json").rows[0]
    assert first["gateway"] == "running" and first["http"].startswith("http://127.0.0.1:") and first["home"] == str(home.path)
    assert line("start", "--json").rows[0]["pid"] == first["pid"], "there is one"
    assert line("status", "--json").rows[0]["pid"] == first["pid"]
    assert "running" in line("status").out
    said = line("logs", "-n", "1")
    assert said.code == 0 and len(said.out.splitlines()) == 1
    assert "ready at" in line("logs").out and line("logs", "-n", "0").out == ""
    assert line("stop", "--json").rows == [{"gateway": "stopped", "home": str(home.path)}]
    assert not held(home) and line("status", "--json").rows[0]["gateway"] == "stopped"


def test_start_in_the_foreground_beside_another_one(line: Line, home: Home):
    assert line("start").code == 0
    said = process(home.path, "start", "--foreground")
    assert said.code == 1 and "already runs" in said.err and "Traceback" not in said.err


def test_status_shows_budgets_and_what_is_spent(used: Line, busy: Served):
    said = used("status")
    assert "team poor" in said.out and "project study" in said.out and "$0.00026" in said.out
    row = used("status", "--json").rows[0]
    assert Decimal(row["spend_today_usd"]) == Decimal("0.0002625") and row["calls_today"] == 3 and row["in_flight"] == 0


def test_keys(used: Line, busy: Served):
    said = used("keys", "create", "--team", "london", "--project", "tower", "--expires", "1d", "--json")
    made = said.rows[0]
    key = made["key"]
    assert said.code == 0 and key.startswith("aiplat-") and said.out.count(key) == 1 and key not in said.err
    assert made["last_four"] == key[-4:] and made["team"] == "london" and made["expires_at"].endswith("Z")
    listed = used("keys", "list", "--json")
    assert made["id"] in {row["id"] for row in listed.rows} and key not in listed.out and "key" not in listed.rows[0]
    assert ask(busy.http, key)[0] == 200
    row = used("calls", "--json", "--limit", "1").rows[0]
    assert (row["team"], row["project"], row["surface"]) == ("london", "tower", "http")
    assert used("keys", "revoke", made["id"], "--json").rows[0]["revoked_at"]
    status, body = ask(busy.http, key)
    assert status == 401 and "revoked" in body["error"]["message"]
    used("stop")
    for path in busy.home.path.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path
    assert ask(used("start", "--json").rows[0]["http"], key)[0] == 401


def test_a_key_for_people(used: Line, busy: Served):
    said = used("keys", "create", "--user", "ada")
    shown = re.findall(r"aiplat-[A-Za-z0-9_-]{40,}", said.out)
    assert len(shown) == 1 and "Keep the key now" in said.err and shown[0] not in said.err
    assert ask(busy.http, shown[0])[0] == 200
    used("keys", "revoke", "key-000000000000").complains(2, "there is no key", "aiplat keys list")
    used("keys", "revoke", "a b/../ü?").complains(2, "there is no key")
    assert used("keys", "revoke", shown[0][-4:], "--json").rows[0]["user_id"] == "ada"
    used("keys", "create", "--expires", "0d").complains(2, "would never be good")


def test_models(used: Line):
    rows = used("model", "list", "--json").rows
    assert {"priced", "smollm2", "minilm"} <= {row["name"] for row in rows}
    assert "priced" in used("model", "list").out


# --- the doctor -------------------------------------------------------------------------------------------------------


def checks(said: Any) -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in said.rows}


def test_the_doctor_says_ok_after_tokens_only(used: Line, busy: Served):
    begun = time.time()
    said = used("doctor", "--json")
    found = checks(said)
    assert {found[name]["result"] for name in ("Python", "home", "settings", "gateway", "ledger", "model up/echo")} == {"ok"}
    wrote = re.search(r"wrote (\d+) tokens .* call ([0-9a-f-]{36})", found["model up/echo"]["detail"])
    assert wrote and int(wrote[1]) == 8
    call = used("calls", wrote[2], "--json").rows[0]
    assert call["surface"] == "cli" and call["output_tokens"] == 8 and call["cache"] == "off"
    assert call["started_at"] >= time.strftime("%Y-%m-%dT%H:%M", time.gmtime(begun))
    assert found["model priced"]["result"] == "not checked" and "aiplat doctor --model priced" in found["model priced"]["detail"]
    assert said.code == int(any(row["result"] == "failed" for row in found.values()))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("up/stream-0", "without a single token"),
        ("up/status-401", "key"),
        ("up/status-500", "500"),
        ("up/bad-json", ""),
        ("nosuch", "there is no model"),
    ],
)
def test_a_model_that_fails_is_told_with_its_reason(used: Line, model: str, reason: str):
    said = used("doctor", "--model", model, "--json")
    row = checks(said)[f"model {model}"]
    assert said.code == 1 and row["result"] == "failed" and reason in row["detail"] and len(row["detail"].encode()) <= 800
    assert KEY not in said.out + said.err
    assert f"✗ model {model}" in used("doctor", "--model", model).out


def test_a_home_that_cannot_be_used(line: Line, tmp_path: Path):
    (tmp_path / "file").write_text("")
    said = line("doctor", "--home", str(tmp_path / "file"), "--json")
    row = checks(said)["home"]
    assert said.code == 1 and row["result"] == "failed" and "AIPLAT_HOME" in row["detail"]
    line("start", "--home", str(tmp_path / "file")).complains(1, "AIPLAT_HOME")


def test_a_chain_that_is_broken_is_found(used: Line, busy: Served):
    """A row that was changed in the file while no gateway ran."""
    import duckdb

    used("stop")
    with duckdb.connect(str(busy.home.ledger_file)) as con:
        con.execute("UPDATE call_rows SET team = 'nobody' WHERE seq = (SELECT min(seq) FROM call_rows)")
    try:
        said = used("doctor", "--json")
        assert said.code == 1 and checks(said)["ledger"]["result"] == "failed" and "row" in checks(said)["ledger"]["detail"]
        used("audit", "verify").complains(1, "the chain is broken at row")
    finally:
        used("stop")
        with duckdb.connect(str(busy.home.ledger_file)) as con:
            con.execute("UPDATE call_rows SET team = 'risk' WHERE team = 'nobody'")
    assert used("audit", "verify").code == 0
