"""Reads the shipped evalsets and their cards plainly, and scores answers by rules of its own.

It uses none of the package's own readers of evalsets, so that a mistake in those does not hide one in the data.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from aiplat_lab.prompts import Prompt, load

ROOT = Path(__file__).resolve().parents[2]
EVALSETS = ROOT / "evalsets"
LIBRARY = ROOT / "aiplat_lab" / "prompts" / "library"
SIZES = {
    "code-explanations": 16,
    "document-extraction": 60,
    "judgements": 24,
    "public-sector-summaries": 60,
    "question-pairs": 203,
    "rewrites": 16,
    "sql-explanations": 16,
    "text-questions": 60,
    "ticket-classification": 80,
    "ticket-sentiment": 24,
}
"""The shipped evalsets, and how many samples each holds."""
WITHOUT_PROMPTS = frozenset({"question-pairs"})
"""Sets that are asked of embeddings and rules, not of a model with a prompt."""
Sample = dict[str, Any]


def samples(name: str) -> list[Sample]:
    """The samples of a set, each line read strictly."""
    return [json.loads(line, parse_constant=_refuse) for line in (EVALSETS / name / "data.jsonl").read_text("utf-8").splitlines()]


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def front(text: str) -> tuple[dict[str, Any], str]:
    """The front matter of a text, and what stands below it."""
    opening, head, body = text.split("---\n", 2)
    assert not opening
    return yaml.safe_load(head), body


def card(name: str) -> tuple[dict[str, Any], str]:
    """The fields of a set's card, and its prose."""
    return front((EVALSETS / name / "card.md").read_text("utf-8"))


def prompts() -> list[Prompt]:
    """Every prompt that is shipped: the library, and those beside the evalsets."""
    return [load(path) for path in sorted([*LIBRARY.glob("*.prompt.md"), *EVALSETS.glob("*/prompts/*.prompt.md")])]


def held(prompt: Prompt) -> str:
    """Every text in a prompt: its messages unfilled, and the defaults and examples of its variables."""
    of_variables = [text for one in prompt.variables.values() for text in texts([one.default, one.example])]
    return "\n\n".join([*(block.text for block in prompt.messages), *of_variables])


# --- texts ------------------------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


def grams(text: str, size: int = 8) -> set[tuple[str, ...]]:
    """Every run of so many words."""
    found = words(text)
    return {tuple(found[index : index + size]) for index in range(len(found) - size + 1)}


def texts(value: Any) -> Iterator[str]:
    """Every text inside a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)


def found(keyword: str, text: str) -> bool:
    """Whether a keyword, or one of its alternatives between `|`, begins a word of the text; a number must end there too."""
    return any(
        re.search(rf"(?<!\w){re.escape(one)}" + (r"(?!\d)" if one[-1:].isdigit() else ""), text, re.IGNORECASE)
        for one in keyword.split("|")
    )


def plain(text: str) -> str:
    """A text without case, punctuation and articles."""
    kept = "".join(sign if sign.isalnum() else " " for sign in text.casefold().replace("'", ""))
    return " ".join(word for word in kept.split() if word not in {"a", "an", "the"})


# --- scores -----------------------------------------------------------------------------------------------------------


def accepted(sample: Sample) -> list[str]:
    """The texts of which each is right."""
    return sample["target"] if isinstance(sample["target"], list) else [sample["target"]]


def right_answers(sample: Sample) -> list[str]:
    """Answers that must score 1."""
    target = sample["target"]
    if isinstance(target, dict):
        return [target["reference"] if "reference" in target else json.dumps(target)]
    return accepted(sample)


def label(answer: str, sample: Sample) -> float:
    """Whether the answer holds the target as a word, and none of the other labels."""

    def holds(text: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", answer, re.IGNORECASE) is not None

    return float(holds(sample["target"]) and not any(holds(one) for one in sample["known_bad"]))


def fields(answer: str, sample: Sample) -> float:
    """The F1 of the JSON fields, null and missing being the same."""
    first, last = answer.find("{"), answer.rfind("}")
    try:
        data = json.loads(answer[first : last + 1]) if 0 <= first < last else None
    except ValueError:
        data = None
    if not isinstance(data, dict):
        return 0.0
    given = {key: value for key, value in data.items() if value is not None}
    wanted = {key: value for key, value in sample["target"].items() if value is not None}
    right = sum(key in given and _same(given[key], value) for key, value in wanted.items())
    return 2 * right / (len(given) + len(wanted)) if given or wanted else 1.0


def _same(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, int | float):
        return isinstance(given, int | float) and abs(given - wanted) < 1e-9
    return isinstance(given, str | int | float) and words(str(given)) == words(str(wanted))


def short_answer(answer: str, sample: Sample) -> float:
    """The F1 of the words shared with the nearest accepted answer."""
    return max(_f1(plain(answer).split(), plain(one).split()) for one in accepted(sample))


def _f1(given: list[str], wanted: list[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    return 2 * sum((Counter(given) & Counter(wanted)).values()) / (len(given) + len(wanted))


def keywords(answer: str, sample: Sample) -> float:
    """The share of the keywords that are there, times the share of the words to avoid that are not."""
    wanted, unwanted = sample["target"]["keywords"], sample["target"].get("avoid", [])
    kept = sum(found(one, answer) for one in wanted) / len(wanted)
    return kept * (sum(not found(one, answer) for one in unwanted) / len(unwanted) if unwanted else 1.0)


def mark(answer: str, sample: Sample) -> float:
    """Whether the last number of the answer is the target or next to it."""
    numbers = re.findall(r"\d+", answer)
    return float(bool(numbers) and abs(int(numbers[-1]) - int(sample["target"])) <= 1)


SCORE: Mapping[str, Callable[[str, Sample], float]] = {
    "contains:only=true": label,
    "json_fields": fields,
    "token_f1": short_answer,
    "keywords": keywords,
    "numeric:tolerance=1": mark,
}
"""How the first scorer that a card names counts."""
