"""Evidence: what the ledger shows on each rule, what it does not, and what a changed snapshot does to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledgerkit import a_call
from reportkit import demo_snapshot, lights, played, reading, table, tampered

from aiplat_lab.core.errors import ReportError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.reports import evidence
from aiplat_lab.reports._document import STATES, State
from aiplat_lab.reports._evidence_money import forecast
from aiplat_lab.reports._finding import Finding, judge
from aiplat_lab.reports._html import render_html
from aiplat_lab.reports._rules import load_packs
from aiplat_lab.reports._run import read


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HOME", "")  # the helpers set it; this puts it back


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIPLAT_HOME", "")
        yield demo_snapshot(tmp_path_factory.mktemp("demo"))


def sealed(home: Home, calls: list[dict[str, Any]], *, payload: bytes = b"") -> Path:
    """A snapshot of a ledger with these calls, and with one text erased where one is given."""
    with Ledger.open(home) as ledger:
        for call in calls:
            ledger.record("call", call)
        if payload:
            import hashlib

            digest = hashlib.sha256(payload).hexdigest()
            ledger.record("call", a_call(request_hash=digest), payloads={digest: payload})
            assert ledger.erase_payload(digest)
        path = home.path / "snapshot.duckdb"
        ledger.snapshot(path)
    return path


def test_every_rule_is_dated_sourced_and_asks_for_evidence_there_is() -> None:
    rules = [rule for pack in load_packs() for rule in pack.rules]
    assert len(rules) >= 21
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.checked <= rule.check_by and rule.source and rule.owner and rule.action
        assert rule.evidence and set(rule.evidence) <= set(evidence.EVIDENCE)
        assert "complian" not in f"{rule.text} {rule.action} {rule.requirement}".lower()


@pytest.mark.parametrize(
    ("found", "coverage", "late", "state"),
    [
        (["supports", "supports"], "A", False, "supports"),
        (["supports", "supports"], "A", True, "part"),
        (["supports"], "P", False, "part"),
        (["supports", "missing"], "A", False, "part"),
        (["missing", "missing"], "A", False, "missing"),
        (["supports", "against"], "A", False, "against"),
        (["part"], "H", False, "missing"),
        ([], "A", False, "missing"),
    ],
)
def test_several_pieces_of_evidence_answer_one_rule(found: list[State], coverage: str, late: bool, state: State) -> None:
    from dataclasses import replace

    rule = replace(load_packs()[0].rules[0], coverage=coverage)
    today = rule.check_by + timedelta(days=1 if late else 0)
    light = judge(rule, [Finding(one, "because", "Q1") for one in found], today=today)
    assert light.state == state
    assert light.stale is late
    assert ("is stale" in light.reason) is late


def test_the_evidence_report_says_what_is_and_what_is_not(demo: tuple[Home, Path], tmp_path: Path) -> None:
    home, snapshot = demo
    path = played("compliance", home, snapshot, tmp_path, organisation="Example Ltd", prepared_by="Ada", since="30d")
    data, found = json.loads(path.read_text()), lights(path)
    assert data["status"] == "complete" and data["cover"]["organisation"] == "Example Ltd"
    assert data["basis"]["chain_checked"] == "contents"
    assert {item["state"] for item in found.values()} <= set(STATES)
    assert found["AIA-12"]["state"] == "part" and "no invoice was given" in found["AIA-12"]["reason"]
    assert found["AIA-19"]["state"] == "part" and "89 days held" in found["AIA-19"]["reason"]
    assert found["AIA-73"]["state"] == "missing"
    assert found["GP-STOP"]["state"] == "missing"
    assert "compliant" not in path.read_text().lower()
    cited = {word for block in data["blocks"] for word in str(block.get("query", "")).split()}
    cited |= {word for item in found.values() for word in item["query"].split()}
    assert cited <= {query["id"] for query in data["queries"]}
    html = render_html(read(path.read_text()), {})
    for item in found.values():
        assert item["requirement"] in html
    assert html.count('class="state missing"') == sum(item["state"] == "missing" for item in found.values())
    assert "evidence supports" in html and "Name and signature" in html
    owners = table(path, "Gaps and actions")
    assert len(owners) == sum(item["state"] != "supports" for item in found.values())
    assert all(row[4] for row in owners)


def test_an_empty_ledger_is_not_evidenced_and_never_good(home: Home, tmp_path: Path) -> None:
    path = played("compliance", home, sealed(home, []), tmp_path)
    found = lights(path)
    assert {item["state"] for item in found.values()} == {"missing"}
    data = json.loads(path.read_text())
    assert data["cover"]["organisation"] is None
    assert "spend is not evidenced" in " ".join(data["summary"])
    assert "not evidenced" in render_html(read(path.read_text()), {})


def test_a_snapshot_changed_by_hand_fails_the_report(demo: tuple[Home, Path], tmp_path: Path) -> None:
    home, snapshot = demo
    changed = tampered(snapshot, tmp_path / "changed.duckdb", "UPDATE call_rows SET cost_usd = 0 WHERE seq = 700 OR seq = 900")
    path = played("compliance", home, changed, tmp_path / "out")
    data, found = json.loads(path.read_text()), lights(path)
    assert data["status"] == "failed"
    assert "row " in data["reasons"][0] and "not as it was written" in data["reasons"][0]
    assert found["AIA-12"]["state"] == "against" and found["AIA-19"]["state"] == "against"
    assert "does NOT hold" in " ".join(data["summary"])
    html = render_html(read(path.read_text()), {})
    assert "status: failed" in html and "BROKEN" in html

    outside = tampered(snapshot, tmp_path / "seal.duckdb", "UPDATE seal SET rows = rows - 1")
    assert reading(home, outside).document.status == "failed"
    assert "its seal names other rows" in reading(home, outside).document.reasons[0]
    exchanged = reading(home, snapshot, sha256="0" * 64).document
    assert exchanged.status == "failed" and "changed or exchanged" in exchanged.reasons[0]
    assert reading(home, snapshot).document.status == "complete"


def test_heads_of_earlier_reports_are_anchors(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        head = ledger.record("call", a_call())
        for number, digest in enumerate((head.hash, "f" * 64)):
            noted = {"name": "cost", "status": "complete", "head_seq": head.seq, "head_hash": digest}
            ledger.record("report", {"id": f"cost-{number}", **noted})
            ledger.snapshot(home.path / f"{number}.duckdb")
    good = evidence.EVIDENCE["log_integrity"](reading(home, home.path / "0.duckdb"))
    bad = evidence.EVIDENCE["log_integrity"](reading(home, home.path / "1.duckdb"))
    assert good.state == "supports"
    assert bad.state == "against" and "cost-1" in bad.reason


def test_the_clock_and_what_was_erased(home: Home) -> None:
    start = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
    calls = [a_call(started_at=start + timedelta(minutes=at), ended_at=start + timedelta(minutes=at, seconds=1)) for at in (0, 60, 10, 70)]
    snapshot = sealed(home, calls, payload=b'{"text":"forget me"}')
    report = reading(home, snapshot, since="2026-01-01")
    assert evidence.EVIDENCE["log_clock"](report).state == "part"
    assert "row 3" in evidence.EVIDENCE["log_clock"](report).reason
    assert evidence.EVIDENCE["erasures"](report).state == "supports"
    held = evidence.EVIDENCE["retention"](report)
    assert held.state == "supports" and f"{(report.now - start).days} days held" in held.reason


@pytest.mark.parametrize(("invoiced", "state"), [(4, "supports"), (8, "against"), (None, "missing")])
def test_coverage_against_invoices(home: Home, tmp_path: Path, invoiced: int | None, state: str) -> None:
    snapshot = sealed(home, [a_call() for _ in range(4)])
    report = reading(home, snapshot, since="2026-01-01")
    rows = None
    if invoiced:
        (tmp_path / "invoices.csv").write_text(f"provider,calls\nup,{invoiced}\n")
        rows = evidence.read_invoices(str(tmp_path / "invoices.csv"))
    found = evidence.judged(report, invoices=rows, cited="F1")
    light = next(light for rule, light in found.pairs if rule.id == "AIA-12")
    assert ("not evidenced" in light.reason or "no invoice" in light.reason) is (state == "missing")
    assert light.state == {"supports": "supports", "against": "against", "missing": "part"}[state]


@pytest.mark.parametrize("text", ["", "provider,calls\n", "provider,calls\nup,many\n", "name;n\nup;3\n", "provider,calls\n,3\n"])
def test_invoices_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ReportError, match=r"bad\.csv"):
        evidence.read_invoices(str(tmp_path / "bad.csv"))
    with pytest.raises(ReportError, match="cannot be read"):
        evidence.read_invoices(str(tmp_path / "missing.csv"))


RULE = """
[pack]
id = "own"
framework = "House rules"
version = "1"
dated = 2026-01-01
[[rules]]
id = "H-1"
place = "Rule 1"
requirement = "Logging"
text = "Everything is logged."
also = []
source = "The board"
effective = 2026-01-01
checked = 2026-01-01
check_by = 2026-02-01
coverage = "A"
evidence = ["log_integrity"]
owner = "Board"
action = "Log."
"""


def test_an_own_rule_that_is_stale_lowers_the_report(demo: tuple[Home, Path], tmp_path: Path) -> None:
    home, snapshot = demo
    (tmp_path / "own.toml").write_text(RULE)
    report = reading(home, snapshot)
    found = evidence.judged(report, rules=str(tmp_path / "own.toml"))
    light = next(light for rule, light in found.pairs if rule.id == "H-1")
    assert light.stale and light.state == "part"
    assert report.document.status == "partial"
    assert found.stale == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('coverage = "A"', 'coverage = "Z"', "coverage is 'Z'"),
        ("check_by = 2026-02-01", 'check_by = "soon"', "check_by must be a date"),
        ('owner = "Board"', 'ownr = "Board"', "no key 'ownr'"),
        ('["log_integrity"]', '["log_integrty"]', "log_integrity"),
        ("[pack]", "[pck]", r"needs \[pack\]"),
        ("[[rules]]", "[[rules", "not TOML"),
    ],
)
def test_a_rule_pack_that_is_none(old: str, new: str, said: str, demo: tuple[Home, Path], tmp_path: Path) -> None:
    home, snapshot = demo
    (tmp_path / "own.toml").write_text(RULE.replace(old, new))
    with pytest.raises(ReportError, match=said):
        evidence.judged(reading(home, snapshot), rules=str(tmp_path / "own.toml"))


def test_a_forecast_is_arithmetic_and_silent_from_few_days() -> None:
    assert forecast([1.0] * 6, spent=Decimal(6), left=4) == (None, None, None)
    low, expected, high = forecast([2.0] * 10, spent=Decimal(20), left=5)
    assert low == expected == high == Decimal(30)
    low, expected, high = forecast([1.0, 3.0] * 5, spent=Decimal(20), left=10)
    assert low is not None and expected is not None and high is not None
    assert expected == Decimal(40) and low >= 20
    spread = 1.0540925533894598 * (10 + 100 / 10) ** 0.5 * 1.2815515655446004
    assert float(high - expected) == pytest.approx(spread, abs=1e-6)


def test_budgets_that_are_overspent_speak_against(home: Home) -> None:
    home.settings_file.write_text('[[budgets]]\nlimit_usd = 0.001\nperiod = "month"\n')
    now = datetime.now(UTC)
    snapshot = sealed(home, [a_call(started_at=now - timedelta(minutes=1)) for _ in range(2)])
    report = reading(home, snapshot, since="7d")
    found = evidence.EVIDENCE["budgets"](report)
    assert found.state == "against" and "everyone, month" in found.reason
    home.settings_file.write_text("")
    assert evidence.EVIDENCE["budgets"](reading(home, snapshot)).state == "missing"


def test_a_stale_day_is_a_day_after() -> None:
    rule = load_packs()[0].rules[0]
    assert not rule.stale(rule.check_by) and rule.stale(rule.check_by + timedelta(days=1))
    assert isinstance(rule.effective, date)
