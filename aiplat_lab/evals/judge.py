"""The scorers that ask a model themselves: a judge with a rubric, and similarity of meaning by embeddings."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from aiplat_lab.core.registry import register
from aiplat_lab.core.types import Json, Message
from aiplat_lab.evals._evalset import Sample
from aiplat_lab.evals._score import Answer, Ask, Score, ScorerFailed
from aiplat_lab.evals.scorers import read_json, targets
from aiplat_lab.prompts import LIBRARY, library, library_names

RUBRIC = "Is the answer right and complete by the reference, and does it say nothing that the reference contradicts?"
SCALE = 5
_BARE = re.compile(r"(?:(?:score|mark|rating)\s*[:=]\s*)?(\d{1,3})\s*(?:/\s*\d{1,3})?\s*\.?", re.IGNORECASE)
"""A mark and nothing else, as small models give it."""
_SETTINGS = {"temperature": 0, "max_tokens": 300}
_PROMPT = """You judge one answer by a rubric. Judge only what the rubric asks.

Rubric: {rubric}

Task:
{task}

Reference:
{reference}

Answer to judge:
{answer}

Reply with one line of JSON and nothing else: {{"reason": "<one sentence>", "score": <whole number from 1 (bad) to {scale} (good)>}}"""


@register("scorer", "judge")
async def judge(
    answer: Answer,
    sample: Sample,
    *,
    ask: Ask,
    rubric: str = RUBRIC,
    model: str = "",
    prompt: str = "",
    scale: int = SCALE,
    repeats: int = 1,
) -> Score:
    """What a model says of the answer by a rubric, from 1 to `scale`, as a share from 0 to 1.

    An answer of the judge that is out of form is an error of this scorer, never a low score.

    Args:
        answer: the answer.
        sample: its input and target are shown to the judge.
        ask: how the judge is asked.
        rubric: what to judge.
        model: the judge; empty takes the prompt's model where a prompt is given, or the run's own.
        prompt: a prompt of the registry or a file, with the variables `rubric`, `task`, `reference`, `answer` and `scale`; empty
            takes the library's `judge` for the model that it was made for, and otherwise asks for a mark and a reason as JSON.
        scale: the best mark.
        repeats: how often it is asked; the mean counts, and how far the marks lie apart is noted.
    """
    marks: list[int] = []
    reason = ""
    for turn in range(repeats):
        messages, settings, named = _question(answer, sample, rubric=rubric, scale=scale, prompt=prompt, model=model or ask.model)
        said = await ask.chat(messages, model=model or named, settings=settings, key=f"judge{turn + 1}")
        mark, reason = read_mark(said.text, scale)
        marks.append(mark)
    spread = f" (marks {', '.join(map(str, marks))})" if len(set(marks)) > 1 else ""
    return Score((sum(marks) / repeats - 1) / (scale - 1), reason + spread)


def _check_judge(rubric: str = RUBRIC, model: str = "", prompt: str = "", scale: int = SCALE, repeats: int = 1) -> None:
    if not 2 <= scale <= 100:
        raise ValueError(f"scale is {scale}; the best mark is from 2 to 100")
    if not 1 <= repeats <= 25:
        raise ValueError(f"repeats is {repeats}; a judge is asked 1 to 25 times")
    if not rubric.strip():
        raise ValueError("the rubric is empty")


judge.check_options = _check_judge  # type: ignore[attr-defined]


def read_mark(text: str, scale: int) -> tuple[int, str]:
    """The mark and the reason in a judge's answer.

    Raises:
        ScorerFailed: the answer is out of form.
    """
    try:
        data = read_json(text)
    except ValueError:
        data = None
    mark = data.get("score") if isinstance(data, Mapping) else None
    bare = _BARE.fullmatch(text.strip())
    if data is None or isinstance(data, int):
        mark = int(bare[1]) if bare else None
    if isinstance(mark, float) and mark.is_integer():
        mark = int(mark)
    if isinstance(mark, bool) or not isinstance(mark, int) or not 1 <= mark <= scale:
        raise ScorerFailed(f"the judge answered out of form: {' '.join(text.split())[:80]!r} holds no score from 1 to {scale}")
    reason = data.get("reason") if isinstance(data, Mapping) else ""
    return mark, str(reason or "")[:300]


def _question(
    answer: str, sample: Sample, *, rubric: str, scale: int, prompt: str, model: str
) -> tuple[Sequence[Message], Mapping[str, Json], str]:
    values = {"rubric": rubric, "task": _shown(sample.input), "reference": _reference(sample), "answer": str(answer), "scale": scale}
    named = prompt or _own_prompt(model)
    if named:
        return _library(named, values)
    return (Message("user", _PROMPT.format(**values)),), _SETTINGS, ""


def _own_prompt(model: str) -> str:
    """The library's judge where it was made for this model; a small model needs another form than a large one."""
    return f"{LIBRARY}judge" if "judge" in library_names() and library("judge").model == model else ""


def _library(prompt: str, values: Mapping[str, Any]) -> tuple[Sequence[Message], Mapping[str, Json], str]:
    from aiplat_lab.evals._asking import asking

    asked = _kept(asking, prompt)(values)
    return asked.messages, {**_SETTINGS, **asked.settings}, asked.model


@cache
def _kept(make: Any, prompt: str) -> Any:  # Any: `asking`, which imports this module's neighbours
    return make(prompt).request


def _reference(sample: Sample) -> str:
    if sample.target is None:
        return "(none)"
    found = targets(sample)
    return found[0] if len(found) == 1 else "\n".join(f"- {one}" for one in found)


def _shown(values: Mapping[str, Json]) -> str:
    if len(values) == 1:
        return str(next(iter(values.values())))
    return "\n".join(f"{name}: {one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)}" for name, one in values.items())


@register("scorer", "similarity")
async def similarity(answer: Answer, sample: Sample, *, ask: Ask, model: str = "minilm", threshold: float = 0.7) -> Score:
    """The cosine of the embeddings of answer and target, the best of several targets; it passes from `threshold` on."""
    wanted = targets(sample)
    if not answer.strip():
        return Score(0.0, "the answer is empty", False)
    first, *others = await ask.embed([str(answer), *wanted], model=model)
    value = max(_cosine(first, other) for other in others)
    return Score(min(1.0, max(0.0, value)), "", value >= threshold)


def _check_similarity(model: str = "minilm", threshold: float = 0.7) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it is from 0 to 1")


similarity.check_options = _check_similarity  # type: ignore[attr-defined]


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    size = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / size if size else 0.0
