"""Evidence on the log itself: whole, in order, held long enough, and held against the providers' invoices (report R2)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import ReportError
from aiplat_lab.reports._finding import Finding, counted
from aiplat_lab.reports._report import Report

_NEAR = 0.99
"""The share of invoiced calls that the log must hold to support coverage."""


def log_integrity(report: Report) -> Finding:
    """Whether every row is as it was written, none is missing, and nothing was set aside."""
    basis, contents = report.document.basis, report.view("log_contents")
    damaged, anchors = report.view("quarantined"), report.view("report_anchors", whole=True)
    cited = f"{contents.query} {damaged.query} {anchors.query}"
    if not basis["rows"]:
        return Finding("missing", "the log is empty", cited)
    if not basis["chain_holds"]:
        return Finding("against", f"the hash chain does not hold: {basis['chain_reason']}", cited)
    lost = [row for row in anchors.rows if not row["holds"]]
    if lost:
        return Finding("against", f"the head that the report {lost[0]['id']} noted is no longer in the chain", cited)
    if damaged:
        return Finding("part", f"the chain holds, but {counted(len(damaged.rows), 'line')} could not be read and stand aside", cited)
    return Finding("supports", f"all {basis['rows']:,} rows match their hashes and no number is missing", cited)


def log_clock(report: Report) -> Finding:
    """Whether the rows stand in the order of time."""
    clock = report.view("log_clock", whole=True)
    row = clock.row
    if not row["calls"]:
        return Finding("missing", "no call to read the clock from", clock.query)
    faults = row["backward"] + row["ends_before_start"]
    if faults:
        return Finding("part", f"{counted(faults, 'row')} out of time order, the first is row {row['first_seq']:,}", clock.query)
    return Finding("supports", "no row is out of time order", clock.query)


def held_days(report: Report) -> int | None:
    """Whole days since the oldest call that the log still holds; None for an empty log."""
    row = next(row for row in report.view("log_held", whole=True).rows if row["kind"] == "all")
    return None if row["first_at"] is None else (report.now - at(row["first_at"])).days


def retention(report: Report) -> Finding:
    """Whether calls are held for as long as the floor asks."""
    held, floor = report.view("log_held", whole=True), report.settings.retention.floor_days
    cited = f"{held.query} {_floor_cited(report)}"
    days = held_days(report)
    if days is None:
        return Finding("missing", "the log holds no call", cited)
    if not report.document.basis["chain_holds"]:
        return Finding("against", "rows are missing or changed, so that nothing can be said of how long they are held", cited)
    if days < floor:
        said = f"{counted(days, 'day')} held, from the log's first call on; a floor of {floor} days cannot be shown before they have passed"
        return Finding("part", said, cited)
    return Finding("supports", f"{counted(days, 'day')} held, the floor is {floor}", cited)


def _floor_cited(report: Report) -> str:
    return report.from_settings("retention", [{"floor_days": report.settings.retention.floor_days}])


def erasures(report: Report) -> Finding:
    """Whether texts that were to be erased are gone."""
    found = report.view("erasures", whole=True)
    if not found:
        return Finding("missing", "no erasure was asked for, so none can be shown", found.query)
    left = [row for row in found.rows if not row["gone"]]
    if left:
        return Finding("against", f"{counted(len(left), 'text')} noted as erased can still be read in this file", found.query)
    return Finding("supports", f"{counted(len(found.rows), 'text')} erased, each with a record in the chain, none can be read", found.query)


def log_coverage(report: Report, invoices: Sequence[Mapping[str, Any]] | None = None, cited: str = "") -> Finding:
    """How many of the calls that the providers invoiced stand in the log."""
    seen = report.view("calls_by_provider")
    if not invoices:
        return Finding("missing", "coverage against the providers' invoices: no invoice was given", seen.query)
    query = f"{seen.query} {cited}"
    worst = min(covered(report, invoices), key=lambda row: row["share"])
    said = f"{worst['share']:.1%} of the calls that {worst['provider']} invoiced are in the log"
    if worst["share"] < _NEAR:
        return Finding("against", said, query)
    return Finding("supports", f"{said}, the lowest of {counted(len(invoices), 'provider')}", query)


def covered(report: Report, invoices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each invoiced provider the calls of the invoice, those in the log, and their share."""
    seen = {row["provider"]: row["requests"] for row in report.view("calls_by_provider").rows}
    rows = [{"provider": row["provider"], "invoiced": row["calls"], "logged": seen.get(row["provider"], 0)} for row in invoices]
    return [{**row, "share": row["logged"] / row["invoiced"]} for row in rows]


def read_invoices(path: str) -> list[dict[str, Any]]:
    """The calls that providers invoiced, from a CSV with the columns `provider` and `calls`.

    Raises:
        ReportError: the file is missing or has not these columns, or a number is none; the text names the line.
    """
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"the invoices in {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows = []
    for number, line in enumerate(lines, start=2):
        text = str(line.get("calls") or "").replace(",", "").strip()
        if not line.get("provider") or not text.isdigit() or not int(text):
            raise ReportError(f"{path}, line {number}: an invoice needs the columns provider and calls, a whole number of 1 or more")
        rows.append({"provider": str(line["provider"]).strip(), "calls": int(text)})
    if not rows:
        raise ReportError(f"{path} holds no invoice; it needs the columns provider and calls")
    return rows


def at(iso: str) -> datetime:
    """A time of a view as an aware time."""
    return datetime.fromisoformat(iso)


def moment_of(iso: str | None) -> str | None:
    """A time of a view for a reader."""
    return None if iso is None else iso[:16].replace("T", " ")


def write_log(report: Report, *, invoices: Sequence[Mapping[str, Any]] | None = None, cited: str = "") -> None:
    """Report R2: the chain, the clock, what is held and since when, what was set aside, erased or noted."""
    _write_chain(report)
    _write_coverage(report, invoices, cited)
    _write_held(report)
    erased = report.view("erasures", whole=True)
    report.rows(
        erased,
        "Erasures executed",
        ["When", "Digest in the chain", "Text"],
        [[moment_of(row["recorded_at"]), row["digest"][:16], "gone" if row["gone"] else "STILL READABLE"] for row in erased.rows],
        note="An erasure takes the text away and leaves its digest, so that the chain still holds.",
    )
    incidents = report.view("log_incidents", whole=True)
    report.rows(
        incidents,
        "Incidents of the log itself",
        ["When", "What happened"],
        [[moment_of(row["recorded_at"]), row["text"]] for row in incidents.rows],
        note="Damaged segments, repairs and lines that were set aside, as the log noted them.",
    )
    report.text("Legal holds: not evidenced. This version keeps no record of them.")


def _write_chain(report: Report) -> None:
    basis, contents = report.document.basis, report.view("log_contents")
    clock, damaged = report.view("log_clock", whole=True).row, report.view("quarantined")
    cited = f"{contents.query} {report.view('log_clock', whole=True).query} {damaged.query}"
    faults = clock["backward"] + clock["ends_before_start"]
    report.figures(
        cited,
        [
            ("Hash chain", "holds" if basis["chain_holds"] else "BROKEN", f"{basis['rows']:,} rows, each hash computed again"),
            ("Rows missing", "none" if basis["chain_holds"] else "see the basis", "every number from 1 to the head"),
            ("Clock faults", f"{faults:,}" if clock["calls"] else None, "rows out of time order by more than a minute"),
            ("Lines set aside", f"{len(damaged.rows):,}", "could not be read"),
        ],
    )
    report.rows(
        contents,
        "What the log holds",
        ["Kind of row", "Rows", "First", "Last"],
        [[row["kind"], f"{row['rows']:,}", moment_of(row["first_at"]) or "–", moment_of(row["last_at"]) or "–"] for row in contents.rows],
        right=[1],
        note="The whole log, not the period alone. Times are UTC.",
    )
    anchors = report.view("report_anchors", whole=True)
    report.rows(
        anchors,
        "Anchors: heads that earlier reports noted",
        ["Report", "Made", "Row", "Hash", "In the chain"],
        [
            [
                row["id"],
                moment_of(row["recorded_at"]),
                f"{row['head_seq']:,}",
                row["head_hash"][:16],
                "still there" if row["holds"] else "GONE",
            ]
            for row in anchors.rows[:10]
        ],
        right=[2],
        note="The head in the basis of preparation is this report's anchor. An anchor outside this machine is not evidenced.",
    )
    silences = report.view("log_silences", limit=5)
    report.rows(
        silences,
        "Longest times without a call",
        ["From", "To", "Hours"],
        [[moment_of(row["from_at"]), moment_of(row["to_at"]), f"{row['hours']:,.2f}"] for row in silences.rows],
        right=[2],
        note="A silence is no fault by itself: the chain shows that no row was removed. It is for the reader to know why nobody called.",
    )


def _write_coverage(report: Report, invoices: Sequence[Mapping[str, Any]] | None, cited: str) -> None:
    seen = report.view("calls_by_provider")
    known = {row["provider"]: row for row in covered(report, invoices)} if invoices else {}
    rows = []
    for name in dict.fromkeys([*(row["provider"] for row in seen.rows), *known]):
        sent = next((row for row in seen.rows if row["provider"] == name), {"calls": 0, "requests": 0})
        one = known.get(name)
        rows.append(
            [
                name,
                f"{sent['calls']:,}",
                f"{sent['requests']:,}",
                f"{one['invoiced']:,}" if one else None,
                f"{one['share']:.1%}" if one else None,
            ]
        )
    report.rows(
        f"{seen.query} {cited}".strip(),
        "Coverage against the providers' invoices",
        ["Provider", "Calls sent", "Requests with retries", "Invoiced", "In the log"],
        rows,
        right=[1, 2, 3, 4],
        note="Give the invoices with -p invoices=FILE.csv (columns provider, calls) for the same period; the share counts requests.",
    )


def _write_held(report: Report) -> None:
    held = report.view("log_held", whole=True)
    rows = []
    for row in held.rows:
        days = None if row["first_at"] is None else (report.now - at(row["first_at"])).days
        name = row["name"] or ("all calls" if row["kind"] == "all" else "none given")
        rows.append([row["kind"], name, f"{row['calls']:,}", moment_of(row["first_at"]), None if days is None else f"{days:,}"])
    floor = report.settings.retention.floor_days
    report.rows(
        f"{held.query} {_floor_cited(report)}",
        "Oldest call held",
        ["By", "Name", "Calls", "Oldest call", "Days held"],
        rows,
        right=[2, 4],
        note=f"The floor is {floor} days (retention.floor_days). A name whose first call is younger than the log has fewer days by itself.",
    )
