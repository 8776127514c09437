"""Replay: what a notebook's cell was answered once is given again whenever it asks the same, so that running it again costs nothing.

Unlike the cache this knows no age. An answer belongs to the question and to the first deployment that the model's name stood for: when
the name stands for another one, the question is asked again.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock
from typing import Any, NamedTuple

from aiplat_lab.core.documents import read_response
from aiplat_lab.core.errors import LedgerError, NothingToReplay
from aiplat_lab.core.registry import register
from aiplat_lab.core.replays import question_of
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, Deployment, Json, ReplayMode, Request, Response, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies.cache import more_than_text, size_bytes

KIND = "replay_answer"
"""The record that a call's answer may be given again."""
CLEARED = "replay_cleared"
_MAX_ENTRIES = 200_000
_AHEAD = 64
"""So many answers are read at once: what was asked after a question is likely to be asked after it again."""
_MEGABYTE = 1_000_000
_KEPT_FLAGS = frozenset({"no_finish_reason", "no_usage"})
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer that may be given again."""

    call_id: str
    """The call that was asked first."""
    question: str
    """The hash of what was asked."""
    target: str
    """The first deployment that the model's name stood for."""
    team: str
    asked_at: datetime
    kept_at: datetime
    """When it became known here: for an answer out of a bundle, when that was taken in."""
    holder: str = ""
    """The virtual key that took it in out of a bundle."""
    source: str = ""
    """The notebook whose bundle it came from; empty for an answer of this ledger."""
    place: int = 0
    """Its place in the order in which answers became known."""
    facts: Mapping[str, Json] | None = None
    """What the row of a call would say of it, for an answer out of a bundle."""


class Look(NamedTuple):
    """What replay would do with a question."""

    entry: Entry | None
    why: str
    """Why there is no answer, as the end of a sentence; empty where there is one."""


@dataclass(slots=True)
class _Asked:
    question: str
    target: str
    cleared: bool = False


@register("policy", "replay")
class Replay:
    """Gives a notebook's cell the answer it was given before, byte for byte, for nothing, under every rule that holds for a call.

    An answer counts for its team, the same question and the same first deployment behind the model's name, and only where the call
    might be computed now. Answers that broke off are not kept; those whose payload was erased are gone.

    Raises:
        NothingToReplay: the call may only be replayed, and there is nothing to replay.
    """

    name = "replay"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._settings = settings
        self._mode_set: ReplayMode = settings.replay.mode
        self._shared = settings.cache.shared
        self._ledger = ledger
        self._clock = clock
        self._targets: dict[str, str] = {}
        self._own: OrderedDict[tuple[str, str, str], Entry] = OrderedDict()
        self._by_question: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._bundled: OrderedDict[tuple[str, str, str], Entry] = OrderedDict()
        self._cleared: dict[tuple[str, str], datetime] = {}
        self._order: list[Entry] = []
        self._memory = Kept(settings.cache.max_mb * _MEGABYTE)
        self._erased = 0
        self._fold()
        ledger.watch(("payload_erased",), self._forget)

    async def before(self, call: Call) -> None:
        """Sets the call's response where it was answered before."""
        mode = self.mode(call.request)
        if mode == "off":
            return
        asked = self._asked(call)
        call.state[self.name] = asked
        call.notes["question"], call.notes["target"] = asked.question, asked.target
        if mode == "refresh":
            self._ask_again(call)
            return
        look, answer = await self._answer(call, asked)
        if answer is not None and look.entry is not None:
            self._give(call, answer, look.entry)
        elif mode == "only":
            raise self._nothing(look.why)
        elif asked.cleared:
            self._ask_again(call)

    async def after(self, call: Call) -> None:
        """Notes that a whole answer may be given again."""
        asked: _Asked | None = call.state.get(self.name)
        if asked is None or call.status != "ok" or call.response is None or (call.cache == "hit" and call.policy != "cache"):
            return
        if "semantic_hit" in call.flags:
            return
        first = call.notes.get("cache-of", "") if call.cache == "hit" else ""
        row = {
            "id": first or call.id,
            "question": asked.question,
            "target": asked.target,
            "team": self._team(call.request.attribution.team),
            "asked_at": call.started_at.astimezone(UTC).isoformat(),
        }
        try:
            self._ledger.record(KIND, row)
        except LedgerError:
            call.flags.append("replay_not_kept")  # the call's own row says why the disk takes nothing more
            return
        self._take(row, self._clock())

    def mode(self, request: Request) -> ReplayMode:
        """How a request is replayed: as it says, or as the setting says where a cell of a notebook says nothing."""
        if more_than_text(request):
            return "only" if request.replay == "only" else "off"
        if request.replay:
            return request.replay
        who = request.attribution
        if who.surface == "magic":
            return self._mode_set
        if who.surface != "python" or not who.notebook or request.cache == "off":
            return "off"
        return "refresh" if request.cache == "refresh" else self._mode_set

    def elsewhere(self, request: Request) -> tuple[Deployment, ...]:
        """What a model that is unknown here stood for where the answer in a bundle was given; empty where there is none."""
        if self.mode(request) not in {"auto", "only"}:
            return ()
        entry = self._bundled.get(self._bundle_key(request, question_of(request)))
        if entry is None or entry.facts is None:
            return ()
        return (Deployment(provider=str(entry.facts["provider"]), model=entry.target.partition("/")[2], region=str(entry.facts["region"])),)

    async def foresee(self, call: Call) -> tuple[Response | None, str]:
        """What a call would be answered with now, or why with nothing; nothing is recorded.

        Raises:
            NothingToReplay: the call may only be replayed.
        """
        mode = self.mode(call.request)
        if mode in {"off", "refresh"}:
            return None, {"off": "not used for this call", "refresh": "asked again"}[mode]
        look, answer = await self._answer(call, self._asked(call))
        if answer is None and mode == "only":
            raise self._nothing(look.why)
        return answer, look.why

    def entries(self, questions: Iterable[tuple[str, str]]) -> list[Entry]:
        """The answers that are known for questions, each given as its team and its hash."""
        wanted = {(self._team(team), question) for team, question in questions}
        found = {(one.team, one.question): one for one in list(self._bundled.values()) if (one.team, one.question) in wanted}
        found |= {asked: self._by_question[asked] for asked in wanted if asked in self._by_question}
        return list(found.values())

    def look(self, *, question: str, model: str, team: str, notebook: str, holder: str) -> Look:
        """Whether a question has an answer that could be given now; the payload is not looked at."""
        target = self.target(model)
        own = self._own.get((self._team(team), question, target))
        if own is not None and self._counts(own, team, notebook):
            return Look(own, "")
        bundled = self._bundled.get((self._team(team), holder, question))
        if bundled is not None and (not target or bundled.target == target) and self._counts(bundled, team, notebook):
            return Look(bundled, "")
        return Look(None, self._why(own or bundled or self._by_question.get((self._team(team), question)), target, model))

    def target(self, model: str) -> str:
        """The first deployment that a model's name stands for now; empty where it is unknown."""
        if model not in self._targets:
            if len(self._targets) > _MAX_ENTRIES:
                self._targets.clear()
            there = self._settings.deployments(model)
            self._targets[model] = there[0].name if there else ""
        return self._targets[model]

    def take(self, row: Mapping[str, Json], *, payloads: Mapping[str, bytes]) -> bool:
        """Takes in an answer out of a bundle; false where the same one is known already.

        Raises:
            LedgerError: it cannot be recorded.
        """
        team, question, target = str(row["team"]), str(row["question"]), str(row["target"])
        held = self._bundled.get((team, str(row["holder"]), question))
        if (team, question, target) in self._own or (held is not None and held.target == target and self._counts(held, team, "")):
            return False
        self._ledger.record(KIND, row, payloads=payloads)
        self._take(row, self._clock())
        return True

    def clear(self, *, team: str, notebook: str) -> datetime:
        """Gives no answer again that is known now: to a notebook, or to all; gives the time.

        Raises:
            LedgerError: it cannot be recorded.
        """
        now = self._clock()
        self._ledger.record(CLEARED, {"id": f"{team}\n{notebook}", "team": team, "notebook": notebook, "until": now.isoformat()})
        self._cleared[self._team(team), notebook] = now
        return now

    # --- asking -----------------------------------------------------------------------------------------------------

    def _asked(self, call: Call) -> _Asked:
        return _Asked(question_of(call.request), self.target(call.request.model))

    async def _answer(self, call: Call, asked: _Asked) -> tuple[Look, Response | None]:
        """What replay would do, and the answer where the call may have it."""
        who = call.request.attribution
        look = self.look(
            question=asked.question, model=call.request.model, team=who.team, notebook=who.notebook, holder=self._holder(who.key_id)
        )
        entry = look.entry
        if entry is None:
            asked.cleared = (self._team(who.team), asked.question, asked.target) in self._own
            return look, None
        try:
            answer = self._memory.get(entry.call_id, self._erased) or await asyncio.to_thread(self._read, entry)
        except (LedgerError, ValueError, KeyError, TypeError, AttributeError):  # a damaged payload can hold anything
            call.flags.append("replay_not_read")
            return Look(entry, "its answer cannot be read"), None
        if answer is None:
            return Look(entry, "its answer was erased"), None
        if not any(one.provider == answer.provider and one.region == answer.region for one in call.deployments):
            where = f"{answer.provider} in {answer.region or 'an unknown region'}"
            return Look(entry, f"its answer came from {where}, where this call may not be computed now"), None
        return look, answer

    def _read(self, entry: Entry) -> Response | None:
        """The recorded answer, or None when its payload was erased; those that were asked after it are read too, and kept in memory."""
        erased = self._erased
        ahead = [one for one in self._order[entry.place : entry.place + _AHEAD] if one.call_id not in self._memory]
        own = [one.call_id for one in (entry, *ahead) if one.facts is None]
        rows = {str(row["call_id"]): row for row in self._ledger.view_rows("answer", {"call_id": own})} if own else {}
        found = None
        for one in dict.fromkeys([entry.call_id, *(one.call_id for one in ahead)]):
            facts = rows.get(one) or next((each.facts for each in (entry, *ahead) if each.call_id == one), None)
            document = self._ledger.payload(str(facts["response_hash"])) if facts else None
            if facts is None or document is None:
                continue
            try:
                answer = read_response(facts, document)
            except (ValueError, KeyError, TypeError, AttributeError):
                if one == entry.call_id:
                    raise
                continue
            self._memory.put(one, answer, erased)
            found = answer if one == entry.call_id else found
        return found

    def _forget(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
        """Whichever thread tells, what is in memory counts no more: the ledger says what is left."""
        self._erased += 1

    def _give(self, call: Call, answer: Response, entry: Entry) -> None:
        call.response = replace(answer, flags=tuple(flag for flag in answer.flags if flag in _KEPT_FLAGS))
        call.cache, call.policy = "hit", self.name
        call.cost_usd, call.baseline_cost_usd = _ZERO, answer.cost_usd
        call.notes["replay-of"] = entry.call_id
        call.notes["replay-asked-at"] = entry.asked_at.isoformat()
        if entry.source:
            call.notes["replay-from"] = entry.source
        if not call.request.parent_id:
            call.request = replace(call.request, parent_id=entry.call_id)

    @staticmethod
    def _ask_again(call: Call) -> None:
        if call.request.cache in {"auto", "on"}:
            call.request = replace(call.request, cache="refresh")

    def _nothing(self, why: str) -> NothingToReplay:
        return NothingToReplay(
            f"there is nothing to replay for this question: {why}. Nothing was sent. Run it once with --replay auto, "
            "or take in the bundle of whoever has run it (`aiplat replay import FILE`).",
            policy=self.name,
        )

    def _why(self, other: Entry | None, target: str, model: str) -> str:
        if other is None:
            return "it was not answered before"
        if other.target != target:
            return f"{model!r} stood for {other.target or 'nothing'} when it was answered, and stands for {target or 'nothing'} now"
        return "its answer was cleared"

    def _counts(self, entry: Entry, team: str, notebook: str) -> bool:
        """Whether it is younger than every clearing that concerns it."""
        if not self._cleared:
            return True
        teams, notebooks = {"", self._team(team)}, {"", notebook}
        moments = (self._cleared.get((one, other)) for one in teams for other in notebooks)
        return all(moment is None or entry.kept_at > moment for moment in moments)

    def _team(self, team: str) -> str:
        return "" if self._shared else team

    def _holder(self, key_id: str) -> str:
        return "" if self._shared else key_id

    def _bundle_key(self, request: Request, question: str) -> tuple[str, str, str]:
        who = request.attribution
        return self._team(who.team), self._holder(who.key_id), question

    # --- records ----------------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        for row in self._ledger.view_rows("replay_clearings", {}):
            self._cleared[self._team(row["team"] or ""), row["notebook"] or ""] = _aware(row["until"])
        rows: Sequence[Mapping[str, Any]] = self._ledger.view_rows("replay_index", {"limit": _MAX_ENTRIES})
        for row in reversed(rows):
            self._take(row, _aware(row["recorded_at"]))

    def _take(self, row: Mapping[str, Any], kept_at: datetime) -> None:  # Any: a record's values
        facts = row.get("facts")
        entry = Entry(
            call_id=str(row["id"]),
            question=str(row["question"]),
            target=str(row["target"] or ""),
            team=self._team(str(row["team"] or "")),
            asked_at=_aware(row["asked_at"]),
            kept_at=kept_at,
            holder=self._holder(str(row.get("holder") or "")),
            source=str(row.get("source") or ""),
            place=len(self._order),
            facts=read_facts(facts) if facts else None,
        )
        self._order.append(entry)
        if entry.facts is not None:
            _put(self._bundled, (entry.team, entry.holder, entry.question), entry)
        else:
            _put(self._own, (entry.team, entry.question, entry.target), entry)
            _put(self._by_question, (entry.team, entry.question), entry)


class Kept:
    """Answers in memory, by call, up to so many bytes; each counts until the next erasure."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._lock = Lock()
        self._answers: OrderedDict[str, tuple[Response, int, int]] = OrderedDict()

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._answers

    def get(self, call_id: str, erased: int) -> Response | None:
        """The answer, unless there was an erasure since it was read."""
        with self._lock:
            found = self._answers.get(call_id)
            if found is not None and found[1] != erased:
                self._drop(call_id)
                return None
            return found[0] if found is not None else None

    def put(self, call_id: str, answer: Response, erased: int) -> None:
        """Keeps an answer, in the place of the oldest ones."""
        size = size_bytes(answer)
        with self._lock:
            self._drop(call_id)
            self._answers[call_id] = (answer, erased, size)
            self._bytes += size
            while self._bytes > self._most and self._answers:
                self._drop(next(iter(self._answers)))

    def _drop(self, call_id: str) -> None:
        gone = self._answers.pop(call_id, None)
        self._bytes -= gone[2] if gone is not None else 0


def read_facts(facts: Any) -> Mapping[str, Json]:  # Any: JSON, or its text
    """What the row of a call would say of an answer out of a bundle."""
    found: Mapping[str, Json] = json.loads(facts) if isinstance(facts, str) else facts
    return found


def _put(index: OrderedDict[Any, Entry], key: Any, entry: Entry) -> None:  # Any: keys of two shapes
    index.pop(key, None)
    index[key] = entry
    if len(index) > _MAX_ENTRIES:
        index.popitem(last=False)


def _aware(moment: datetime | str) -> datetime:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found if found.tzinfo else found.replace(tzinfo=UTC)
