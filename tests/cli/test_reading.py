"""Commands that read the ledger, on a home whose gateway has answered calls."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import duckdb
import polars
import pytest
from clikit import Line, process
from served import Served

from aiplat_lab.core.ids import new_id


def test_calls_and_their_filters(used: Line, busy: Served):
    rows = used("calls", "--json").rows
    assert [row["request_model"] for row in rows] == ["up/status-401", "up/echo", "priced"]
    assert [row["status"] for row in rows] == ["error", "ok", "ok"]
    assert Decimal(rows[2]["cost_usd"]) == Decimal("0.0002625") and rows[2]["started_at"].endswith("Z")
    for words, count in (
        ("--since 7d", 3),
        ("--since today", 3),
        ("--since 24h --until now", 3),
        ("--until 7d", 0),
        ("--since 2020-01-01 --until 2020-01-02", 0),
        ("--team risk", 2),
        ("--team risk --team pricing", 3),
        ("--team risk --status ok", 1),
        ("--model priced", 1),
        ("--project study", 1),
        ("--surface magic", 0),
        ("--limit 1", 1),
        ("--limit 0", 0),
    ):
        assert len(used("calls", "--json", *words.split()).rows) == count, words
    table = used("calls").out.splitlines()
    assert table[0].split()[:4] == ["call_id", "started_at", "team", "request_model"] and len(table) == 5


def test_one_call_whole(used: Line):
    brief = used("calls", "--json", "--model", "priced").rows[0]
    whole = used("calls", brief["call_id"], "--json").rows[0]
    assert (whole["call_id"], whole["team"], whole["text"]) == (brief["call_id"], "risk", "Hello from the upstream, which answers at once.")
    assert [message["content"] for message in whole["messages"]] == ["one two three"]
    shown = used("calls", brief["call_id"]).out
    assert "one two three" in shown and "priced" in shown and "hash" in shown
    used("calls", new_id()).complains(2, "there is no call", "aiplat calls")


def test_sql(used: Line):
    rows = used("sql", "SELECT team, count(*) AS calls, sum(cost_usd) AS cost_usd FROM calls GROUP BY team ORDER BY team", "--json").rows
    assert [(row["team"], row["calls"]) for row in rows] == [("pricing", 1), ("risk", 2)]
    assert Decimal(rows[1]["cost_usd"]) == Decimal("0.0002625")
    made = list(csv.DictReader(io.StringIO(used("sql", "SELECT call_id, team FROM calls ORDER BY seq", "--csv").out)))
    assert [row["team"] for row in made] == ["risk", "pricing", "risk"]
    assert "status" in used("sql", "SELECT status FROM calls").out.splitlines()[0]
    assert used("sql", "SELECT * FROM calls", "--json").rows[0]["call_id"]
    assert used("sql", "-- spend\nFROM totals", "--json").rows[0]["calls"] == 3


def test_whatever_a_statement_gives_is_shown(used: Line):
    asked = (
        "SELECT 1 AS a, 2 AS a, INTERVAL 3 DAY AS i, [INTERVAL 1 HOUR] AS l, 'nan'::DOUBLE AS n, 1/0 AS z, 'x'::BLOB AS b, "
        "TIME '10:00' AS t, {'k': 1.50::DECIMAL(9,2)} AS s, MAP{'a': 1} AS m, 'e'::ENUM('e') AS e, union_value(k := 1) AS u, NULL AS o, "
        "TIMESTAMP '2026-11-01 09:00:00' AS at, DATE '2026-11-01' AS day, 12::HUGEINT AS h, 'ü \"q\"' AS \"na me\""
    )
    row = used("sql", asked, "--json").rows[0]
    assert (row["a"], row["a_1"], row["i"], row["n"], row["z"], row["na me"]) == (1, 2, "3 days", None, None, 'ü "q"')
    assert (row["s"], row["m"], row["e"], row["u"], row["o"]) == ({"k": "1.50"}, {"a": 1}, "e", "1", None)
    assert (row["at"], row["day"], row["t"]) == ("2026-11-01T09:00:00Z", "2026-11-01", "10:00:00")
    assert "3 days" in used("sql", asked).out
    assert used("status", "--json").rows[0]["gateway"] == "running"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM calls", "read-only"),
        ("UPDATE calls SET team = 'x'", "read-only"),
        ("DROP TABLE call_rows", "read-only"),
        ("INSERT INTO call_rows SELECT * FROM call_rows", "read-only"),
        ("ATTACH 'other.duckdb'", "read-only"),
        ("COPY calls TO '/tmp/x.csv'", "read-only"),
        ("INSTALL httpfs", "read-only"),
        ("SET threads = 1", "read-only"),
        ("PRAGMA database_list", "read-only"),
        ("SELECT 1; DROP TABLE call_rows", "2 statements"),
        ("EXPLAIN ANALYZE DELETE FROM call_rows", "read-only"),
        ("SELECT * FROM read_text('/etc/passwd')", ""),
        ("SELECT * FROM '/etc/passwd'", ""),
        ("SELEC 1", "syntax"),
        ("SELECT * FROM cals", "Did you mean"),
        ("SELECT costusd FROM calls", "cost_usd"),
    ],
)
def test_a_statement_that_does_more_than_read_is_refused(used: Line, statement: str, told: str):
    before = used("sql", "SELECT count(*) AS n FROM calls", "--json").rows
    used("sql", statement).complains(1, told)
    assert used("sql", "SELECT count(*) AS n FROM calls", "--json").rows == before


def test_an_empty_statement_is_used_wrongly(used: Line):
    used("sql", "").complains(2, "sql")


def test_budget(used: Line):
    rows = used("budget", "--json").rows
    assert [(row["scope"], row["name"], row["hard"]) for row in rows] == [("team", "poor", True), ("project", "study", False)]
    shown = used("budget").out
    assert "team poor" in shown and "soft" in shown and "$1.00" in shown


def test_audit_verify(used: Line, tmp_path: Path):
    said = used("audit", "verify")
    assert said.code == 0 and "the chain holds" in said.err
    assert used("audit", "verify", "--json").rows[0]["ok"] is True
    sealed = tmp_path / "sealed.duckdb"
    assert used("export", str(sealed), "--format", "snapshot").code == 0
    assert used("audit", "verify", "--snapshot", str(sealed), "--json").rows[0]["ok"] is True
    with duckdb.connect(str(sealed)) as con:
        con.execute("UPDATE call_rows SET cost_usd = 0.0001 WHERE team = 'risk' AND cost_usd > 0.0001")
    said = used("audit", "verify", "--snapshot", str(sealed), "--json")
    assert said.rows[0]["ok"] is False and said.rows[0]["first_bad_seq"] >= 1
    said.complains(1, "the chain is broken at row", str(said.rows[0]["first_bad_seq"]))
    used("audit", "verify", "--snapshot", str(tmp_path / "none.duckdb")).complains(1, "there is no snapshot", "aiplat export")
    (tmp_path / "no.duckdb").write_text("not a database")
    used("audit", "verify", "--snapshot", str(tmp_path / "no.duckdb")).complains(1, "cannot be read as a snapshot")


def test_export_to_parquet_and_to_a_snapshot(used: Line, tmp_path: Path):
    made = used("export", str(tmp_path / "a b é.parquet"), "--since", "7d", "--team", "risk", "--json").rows[0]
    frame = polars.read_parquet(made["path"])
    assert made["rows"] == frame.height == 2 and set(frame["team"]) == {"risk"}
    assert used("export", str(tmp_path), "--json").rows[0]["path"] == str(tmp_path / "calls.parquet")
    used("export", str(tmp_path / "calls.parquet")).complains(1, "is there already", "name a new file")
    sealed = tmp_path / "sealed.duckdb"
    made = used("export", str(sealed), "--format", "snapshot", "--json").rows[0]
    assert len(made["sha256"]) == 64 and made["rows"] >= 3
    for words in (("calls",), ("sql", "SELECT team FROM calls ORDER BY seq DESC")):
        live = used(*words, "--json").rows
        assert used(*words, "--json", "--snapshot", str(sealed)).rows == live and len(live) == 3
    assert len(used("calls", "--snapshot", str(sealed), "--since", "today", "--json").rows) == 3
    used("sql", "DELETE FROM calls", "--snapshot", str(sealed)).complains(1, "read-only")


def test_many_rows_into_a_reader_who_takes_one(busy: Served, tmp_path: Path):
    import subprocess
    import sys

    query = "SELECT x, repeat('y', 50) AS y FROM range(20000) t(x)"
    run = f"{sys.executable} -m aiplat_lab.cli sql \"{query}\" --home '{busy.home.path}'; echo $? >&2"
    done = subprocess.run(["bash", "-c", f"({run}) | head -n 1"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["x", "y"] and done.stderr.strip() == "0"


def test_a_shared_gateway_is_asked_with_a_key(used: Line, busy: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`AIPLAT_GATEWAY` counts for what reads, and starts nothing here; `--home` says which home is meant all the same."""
    monkeypatch.setenv("AIPLAT_GATEWAY", busy.http)
    monkeypatch.setenv("AIPLAT_KEY", busy.key(team="risk"))
    monkeypatch.setenv("AIPLAT_HOME", str(tmp_path / "elsewhere"))
    assert {row["team"] for row in used("calls", "--json").rows} == {"risk"}
    assert "priced" in {row["name"] for row in used("model", "list", "--json").rows}
    used("sql", "SELECT 1").complains(1, "auditor and owner keys")
    assert len(used("calls", "--home", str(busy.home.path), "--json").rows) == 3
    monkeypatch.setenv("AIPLAT_KEY", "aiplat-wrong-0123456789")
    used("calls").complains(1, "unknown", "aiplat keys create")
    monkeypatch.setenv("AIPLAT_GATEWAY", "http://127.0.0.1:9")
    used("calls").complains(1, "does not answer", "AIPLAT_GATEWAY")
    assert not (tmp_path / "elsewhere").exists()


def test_report_list(busy: Served):
    said = process(busy.home.path, "report", "list", "--json")
    assert said.code == 0 and {"cost", "compliance"} <= {row["report"] for row in said.rows}
    process(busy.home.path, "report", "run", "csot").complains(2, "Did you mean cost?", "aiplat report list")


def test_demo(used: Line, tmp_path: Path):
    home = tmp_path / "demo home"
    said = used("demo", "--calls", "300", "--days", "5", "--home", str(home), "--json")
    assert said.code == 0 and said.rows == [{"home": str(home), "calls": 300, "days": 5}]
    used("demo", "--home", str(home)).complains(1, "holds a ledger already")
    try:
        everyday = "SELECT count(*) AS n FROM calls WHERE surface NOT IN ('eval', 'ab')"
        assert used("sql", everyday, "--home", str(home), "--json").rows == [{"n": 300}]
        assert used("audit", "verify", "--home", str(home)).code == 0
        assert json.loads(used("status", "--home", str(home), "--json").out)[0]["gateway"] == "running"
    finally:
        used("stop", "--home", str(home))


def test_budget_list_and_what_if(used: Line):
    (poor, study) = used("budget", "list", "--json").rows
    assert poor["left_usd"] == "0.000001000" and study["resets_at"] > study["starts_at"] and study["time_zone"] == "UTC"
    shown = used("budget", "list").out
    assert "resets_at" in shown and "left" in shown and "forecast" in shown
    rows = used("budget", "what-if", "--team", "risk", "--limit", "0.0001", "--periods", "2", "--json").rows
    assert len(rows) == 2 and (rows[0]["calls"], rows[1]["calls"], rows[1]["refused_calls"]) == (0, 1, 1)
    assert rows[1]["refused_usd"] == rows[1]["spent_usd"] == "0.000262500"
    assert used("budget", "what-if", "--project", "study", "--limit", "5", "--period", "total", "--json").rows[0]["refused_calls"] == 0
    before = used("sql", "SELECT count(*) AS n FROM calls", "--json").rows
    (poor,) = used("budget", "what-if", "--model", "priced", "--tokens", "100,50", "--team", "poor", "--json").rows
    assert poor["passes"] == "no" and "team poor" in poor["reason"] and poor["left_usd"] == "0.000001000"
    (study,) = used("budget", "what-if", "--model", "priced", "--tokens", "100", "--project", "study", "--json").rows
    assert (study["passes"], study["max_tokens"], study["needed_usd"]) == ("yes", None, "0.001250000")
    assert used("sql", "SELECT count(*) AS n FROM calls", "--json").rows == before, "asking spends nothing"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give --limit USD"),
        (("--limit", "1", "--model", "priced"), "give --limit USD"),
        (("--limit", "-1"), "not an amount"),
        (("--limit", "nan"), "not an amount"),
        (("--model", "priced"), "needs --tokens"),
        (("--model", "priced", "--tokens", "some"), "no number of tokens"),
        (("--model", "priced", "--tokens", "5,0"), "no number of tokens"),
        (("--limit", "1", "--tag", "nightly"), "write name=value"),
        (("--limit", "1", "--period", "year"), "year"),
    ],
)
def test_what_if_used_wrongly(used: Line, words: tuple[str, ...], told: str):
    used("budget", "what-if", *words).complains(2, told)


def test_what_if_of_a_model_that_is_not_there(used: Line):
    used("budget", "what-if", "--model", "pricd", "--tokens", "5").complains(1, "Did you mean priced")
