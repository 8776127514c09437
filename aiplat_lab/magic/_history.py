"""What this notebook asked before: `%ai log`, `%ai diff`, and `%ai promote`, which keeps an answer as a sample of an evalset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from html import escape
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.place import notebook
from aiplat_lab.core.text import money, seconds
from aiplat_lab.magic._reply import Reply

if TYPE_CHECKING:
    from aiplat_lab.evals import Kept
    from aiplat_lab.magic._cell import Session

_MOST_LINES = 1_000
_ABOUT = ("call_id", "request_model", "response_model", "prompt_name", "prompt_version")
_COLOURS = {"+": "var(--jp-success-color0,#388e3c)", "-": "var(--jp-error-color1,#d32f2f)"}


def log(session: Session, number: int) -> list[dict[str, Any]]:  # Any: the values of a view
    """The newest calls of this notebook as rows for people; of everybody where the notebook is not known."""
    path = notebook(session.shell, session.environment)
    currency, rate = session.money()
    return [
        {
            "at": str(row["started_at"])[:19].replace("T", " "),
            "model": row["response_model"] or row["request_model"],
            "status": row["status"] if row["status"] == "ok" or not row["error_type"] else f"{row['status']} ({row['error_type']})",
            "in": row["input_tokens"],
            "out": row["output_tokens"],
            "cost": money(row["cost_usd"], currency=currency, rate=rate),
            "time": seconds(row["latency_s"]),
            "cache": row["cache"],
            "call": row["call_id"],
        }
        for row in session.client.view_rows("recent_calls", limit=number, **({"notebook": path} if path else {}))
    ]


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """What changed between two calls, part by part."""

    before: str
    """The id of the earlier call."""
    after: str
    parts: Mapping[str, tuple[str, ...]]
    """The lines of a unified diff of what differs: of `model`, `returned model`, `prompt`, `settings` and `answer`."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.parts

    def __repr__(self) -> str:
        if self.same:
            return f"nothing changed between call {self.before} and call {self.after}: prompt, model, settings and answer are the same"
        texts = [f"{name}\n" + "\n".join(lines) for name, lines in self.parts.items()]
        return f"from call {self.before} to call {self.after}\n\n" + "\n\n".join(texts)

    def _repr_html_(self) -> str:
        if self.same:
            return f"<p>{escape(repr(self))}</p>"
        texts = "".join(
            f'<p><strong>{escape(name)}</strong></p><pre style="white-space:pre-wrap;overflow-wrap:anywhere">{_coloured(lines)}</pre>'
            for name, lines in self.parts.items()
        )
        said = f"<p>from call <code>{escape(self.before)}</code> to call <code>{escape(self.after)}</code></p>"
        return f'<div class="tex2jax_ignore mathjax_ignore">{said}{texts}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # Any: as IPython calls it
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}


def diff(session: Session, *calls: str) -> Difference:
    """What changed since the last time: in the prompt, the model that was asked and that answered, the settings, and the answer.

    Args:
        session: the kernel's session.
        calls: nothing for the cell that was answered last; one call, for its cell; or two calls, the earlier first.

    Raises:
        UsageError: nothing was asked yet, or only once.
        UnknownCall: there is no such call.
    """
    for one in calls:
        if not is_id(one):
            raise UsageError(f"{one[:60]!r} is not a call id; %ai log lists them. Write %ai diff, or %ai diff CALL [CALL]")
    if len(calls) > 2:
        raise UsageError("write %ai diff, %ai diff CALL, or %ai diff EARLIER LATER")
    before, after = calls if len(calls) == 2 else _last_two(session, calls[0] if calls else "")
    old, new = (_parts(session.client.call(one)) for one in (before, after))
    found = {}
    for name in new:
        if old[name] != new[name]:
            lines = list(unified_diff(old[name].splitlines(), new[name].splitlines(), lineterm="", n=2))[2:]
            found[name] = tuple(line for line in lines[:_MOST_LINES] if not line.startswith("@@"))
    return Difference(before, after, found)


def _last_two(session: Session, call_id: str) -> tuple[str, str]:
    """The last time that a cell ran and was answered, and the time before."""
    if not call_id:
        if session.last is None:
            raise UsageError("no cell of this kernel was answered yet; %ai diff EARLIER LATER compares any two calls of %ai log")
        call_id = session.last.call_id
    row = session.client.call(call_id)
    where = {"notebook": row["notebook"] or "", "cell_id": row["cell_id"]}
    if not row["cell_id"]:
        raise UsageError(f"call {call_id} names no cell; %ai diff EARLIER LATER compares any two calls of %ai log")
    ids = [str(one["call_id"]) for one in session.client.view_rows("cell_calls", status="ok", **where)]
    earlier = ids[ids.index(call_id) + 1 :] if call_id in ids else []
    if not earlier:
        raise UsageError("this cell was answered once only, so there is nothing to compare it with")
    return earlier[0], call_id


def _parts(call: Mapping[str, Any]) -> dict[str, str]:  # Any: JSON
    """What of a call is compared, as texts."""
    messages = [f"[{one['role']}]\n{_text(one.get('content'))}" for one in call["messages"]]
    return {
        "model": str(call["request_model"]),
        "returned model": f"{call['response_model']} at {call['provider']}" if call["response_model"] else "",
        "prompt version": f"{call['prompt_name']}@{call['prompt_version']}" if call["prompt_name"] else "",
        "prompt": "\n".join([*messages, *map(str, call["inputs"])]),
        "settings": json.dumps(call["settings"], indent=1, sort_keys=True, ensure_ascii=False),
        "answer": str(call["text"] or ""),
    }


def _text(content: Any) -> str:  # Any: JSON
    return content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False, indent=1)


def _coloured(lines: Sequence[str]) -> str:
    return "\n".join(
        f'<span style="color:{_COLOURS[line[0]]}">{escape(line)}</span>' if line[:1] in _COLOURS else escape(line) for line in lines
    )


def promote(session: Session, answer: str | Reply | None = None, *, evalset: str, expected: str | None = None, note: str = "") -> Kept:
    """Keeps an answer as a sample of an evalset: what was asked, and what is expected of an answer.

    Args:
        session: the kernel's session.
        answer: a reply, the name of a variable that holds one, or a call id; None is the last answer of this kernel.
        evalset: its name, for `evalsets/NAME`, or its folder.
        expected: what a right answer is; None is this one.
        note: why it is kept.

    Raises:
        UsageError: there is no such answer.
        EvalError: the question is in the evalset already, or its samples have another shape.
    """
    from aiplat_lab import evals  # brings what evaluation needs, which other commands do not

    asked, text, about = _kept_of(session, answer)
    if not asked:
        raise UsageError("the call has no text of a user that could be asked again, so it cannot be a sample")
    return evals.keep(evalset, asked, text if expected is None else expected, note=note, about=about)


def _kept_of(session: Session, answer: str | Reply | None) -> tuple[str, str, dict[str, Any]]:  # Any: JSON
    """What was asked, what was answered, and what else is known of a call."""
    if isinstance(answer, str) and not isinstance(answer, Reply):
        if is_id(answer):
            call = session.client.call(answer)
            users = [_text(one.get("content")) for one in call["messages"] if one["role"] == "user"]
            about = {
                name: call[name] for name in ("call_id", "request_model", "response_model", "prompt_name", "prompt_version") if call[name]
            }
            return "\n\n".join(users), str(call["text"] or ""), about
        found = session.shell.user_ns.get(answer)
        if not isinstance(found, Reply):
            raise UsageError(f"{answer[:60]!r} is no reply of %%ai -o and no call id; %ai log lists the calls")
        answer = found
    reply = answer if answer is not None else session.last
    if reply is None:
        raise UsageError("no cell of this kernel was answered yet, so there is no answer to keep")
    who = reply.request.attribution
    about = {
        "call_id": reply.call_id,
        "request_model": reply.request.model,
        "response_model": reply.response.response_model,
        "prompt_name": who.prompt_name,
        "prompt_version": who.prompt_version,
    }
    users = [one.text() for one in reply.request.messages if one.role == "user"]
    return "\n\n".join(users), reply.response.text, {name: value for name, value in about.items() if value}
