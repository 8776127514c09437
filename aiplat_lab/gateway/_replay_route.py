"""What is replayed, seen from outside: whether a question is known, bundles out and in, and clearing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import AuthRefused, UsageError
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.replays import check_answer, facts_of, question_of_row
from aiplat_lab.core.types import Attribution, Json
from aiplat_lab.gateway._door import Caller, Door, Fields, check_fields, json_reply, read_json, wanted
from aiplat_lab.gateway._own_routes import may_read, schema_of
from aiplat_lab.gateway.reading import plain
from aiplat_lab.policies import Entry

MOST = 2_000
"""So many questions, calls or answers are taken at once."""
_WHO: Fields = {"attribution": (dict, "an object"), "notebook": (str, "the notebook's path")}
_LOOK: Fields = {"questions": (list, "a list of objects"), **_WHO}
_EXPORT: Fields = {"call_ids": (list, "a list of call ids"), **_WHO}
_IMPORT: Fields = {"answers": (list, "a list of objects"), "source": (str, "the name of the notebook"), **_WHO}
SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/api/replay/look": schema_of(_LOOK, "questions"),
    "/api/replay/export": schema_of(_EXPORT),
    "/api/replay/import": schema_of(_IMPORT, "answers"),
    "/api/replay/clear": schema_of(_WHO),
}
"""What the routes' bodies hold."""


async def look(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/replay/look`: of each question (`question`, its hash, and `model`) whether an answer would be given again, or why not."""
    body = await read_json(request)
    check_fields(body, _LOOK)
    asked = _objects(body, "questions")
    who, notebook = _who(door, caller, body), str(body.get("notebook") or "")
    replay = door.gateway.replay

    def work() -> list[dict[str, Any]]:  # Any: JSON
        rows = []
        for one in asked:
            model = str(one.get("model") or door.settings.default_model)
            found = replay.look(
                question=str(one.get("question") or ""), model=model, team=_team(caller, who, one), notebook=notebook, holder=who.key_id
            )
            rows.append({"target": replay.target(model), **_looked(door, found.entry, found.why)})
        return rows

    return json_reply({"rows": await door.read(work), "default_model": door.settings.default_model, "mode": door.settings.replay.mode})


def _team(caller: Caller, who: Attribution, one: Mapping[str, Json]) -> str:
    """The team of a question: a key's own, or as it says."""
    return who.team if caller.key is not None else str(one.get("team") or who.team)


def _looked(door: Door, entry: Entry | None, why: str) -> dict[str, Any]:  # Any: JSON
    if entry is None:
        return {"known": False, "why": why}
    if entry.facts is not None:
        there = door.ledger.payload(str(entry.facts["response_hash"])) is not None
    else:
        rows = door.ledger.view_rows("answer", {"call_id": entry.call_id})
        there = bool(rows) and rows[0].get("document") is not None
    about = {"call_id": entry.call_id, "asked_at": entry.asked_at.isoformat(), "source": entry.source}
    return {"known": there, "why": "" if there else "its answer was erased", **about}


async def export(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/replay/export`: the answers that calls, or all calls of a notebook, were given, as a bundle holds them."""
    body = await read_json(request)
    check_fields(body, _EXPORT)
    ids = [one for one in body.get("call_ids") or () if isinstance(one, str) and is_id(one)]
    if len(ids) > MOST:
        raise UsageError(f"{len(ids)} calls are too many at once; send up to {MOST}")
    notebook = str(body.get("notebook") or "")
    answers = await door.read(lambda: _answers(door, caller, ids, notebook))
    return json_reply({"answers": answers, "default_model": door.settings.default_model})


def _answers(door: Door, caller: Caller, ids: list[str], notebook: str) -> list[dict[str, Any]]:  # Any: JSON
    filters = ([{"call_id": ids}] if ids else []) + ([{"notebook": notebook}] if notebook else [])
    asked = [row for one in filters for row in door.ledger.view_rows("answer", one) if may_read(caller, row)]
    models = {question_of_row(row): str(row["request_model"]) for row in asked}
    entries = door.gateway.replay.entries({(str(row["team"] or ""), question_of_row(row)) for row in asked})
    firsts = [entry.call_id for entry in entries if entry.facts is None]
    rows = {str(row["call_id"]): row for row in door.ledger.view_rows("answer", {"call_id": firsts})} if firsts else {}
    found = [_answer(door, entry, rows.get(entry.call_id), models[entry.question]) for entry in entries]
    return [one for one in found if one is not None]


def _answer(door: Door, entry: Entry, row: Mapping[str, Any] | None, model: str) -> dict[str, Any] | None:  # Any: JSON, a row's values
    """One answer of a bundle; None where its text was erased."""
    if entry.facts is not None:
        body = door.ledger.payload(str(entry.facts["response_hash"]))
        facts, document = dict(entry.facts), body.decode() if body is not None else None
    else:
        facts, document = (plain(facts_of(row)), row["document"]) if row is not None else ({}, None)
    if document is None:
        return None
    return {
        "call_id": entry.call_id,
        "question": entry.question,
        "target": entry.target,
        "model": model,
        "asked_at": entry.asked_at.isoformat(),
        "response_hash": facts["response_hash"],
        "facts": facts,
        "document": document,
    }


async def take(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/replay/import`: takes in the answers of a bundle, for whoever takes them in; what was erased here stays erased."""
    body = await read_json(request)
    check_fields(body, _IMPORT)
    answers = _objects(body, "answers")
    who, source = _who(door, caller, body), str(body.get("source") or "a bundle")[:200]
    for index, answer in enumerate(answers):
        try:
            check_answer(answer)
            datetime.fromisoformat(answer["asked_at"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"answers[{index}] is no answer of a bundle: {str(error)[:80]}") from None
    return json_reply(await door.read(lambda: _take(door, answers, who, source)))


def _take(door: Door, answers: list[Mapping[str, Json]], who: Attribution, source: str) -> dict[str, int]:
    counts = {"taken": 0, "known": 0, "erased": 0}
    gone = {str(row["id"]) for row in door.ledger.view_rows("record", {"kind": "payload_erased"})}
    for answer in answers:
        if answer["response_hash"] in gone:
            counts["erased"] += 1
            continue
        row = {
            "id": answer["call_id"],
            "question": answer["question"],
            "target": answer["target"],
            "team": who.team,
            "asked_at": answer["asked_at"],
            "holder": who.key_id,
            "source": source,
            "facts": answer["facts"],
        }
        taken = door.gateway.replay.take(row, payloads={answer["response_hash"]: answer["document"].encode()})
        counts["taken" if taken else "known"] += 1
    return counts


async def clear(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/replay/clear`: gives no answer again that is known now, to one notebook, or to all where the owner asks."""
    body = await read_json(request)
    check_fields(body, _WHO)
    who, notebook = _who(door, caller, body), str(body.get("notebook") or "")
    if not notebook and not caller.owner:
        raise AuthRefused("a virtual key clears one notebook at a time; name it", policy="auth", denied=True)
    team = who.team if caller.key is not None else ""
    until = await door.read(lambda: door.gateway.replay.clear(team=team, notebook=notebook))
    return json_reply({"notebook": notebook, "team": team, "until": until.isoformat()})


def _objects(body: Mapping[str, Json], name: str) -> list[Mapping[str, Json]]:
    given: list[Mapping[str, Json]] = wanted(body, name, list, "a list of objects")
    if len(given) > MOST:
        raise UsageError(f"{len(given)} {name} are too many at once; send up to {MOST}")
    if not all(isinstance(one, dict) for one in given):
        raise UsageError(f"the field {name!r} must be a list of objects")
    return given


def _who(door: Door, caller: Caller, body: Mapping[str, Json]) -> Attribution:
    """Who asks, with the team that a call of theirs would be booked on."""
    who = Attribution.from_json(body.get("attribution") or {})
    if caller.key is not None:
        return caller.key.attribute(who)
    project = door.settings.projects.get(who.project)
    team = who.team or (project.team if project is not None else "")
    return Attribution(team=team)
