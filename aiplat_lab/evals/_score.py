"""What a scorer is given, what it gives, and how one is found: by name with options, or any Python function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

from aiplat_lab.core.errors import ConfigError, EvalError, UsageError, did_you_mean
from aiplat_lab.core.registry import find
from aiplat_lab.core.registry import names as registered
from aiplat_lab.core.types import Json, Message, Response


class Answer(str):
    """The text of an answer, with what is known about it."""

    response: Response | None
    """The whole answer, with usage, finish reason and tool calls."""

    def __new__(cls, text: str = "", response: Response | None = None) -> Answer:
        made = super().__new__(cls, text)
        made.response = response
        return made

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost in US dollars; None where nobody knows."""
        return self.response.cost_usd if self.response else None

    @property
    def latency_s(self) -> float | None:
        """How long it took."""
        return self.response.latency_s if self.response else None


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's word on one answer."""

    value: float
    """From 0 (wrong) to 1 (right); a measure (seconds, dollars) may be any number of 0 or more."""
    note: str = ""
    """Why, in a few words."""
    passed: bool | None = None
    """Whether it counts as right; None takes a value of at least 0.5, and says nothing for a measure."""


class Ask(Protocol):
    """How a scorer asks a model: through the gateway, booked under the run, within its cap."""

    @property
    def model(self) -> str:
        """The run's own model, which is asked where no other is named."""
        ...

    async def chat(
        self, messages: Sequence[Message], *, model: str = "", settings: Mapping[str, Json] | None = None, key: str = ""
    ) -> Response:
        """The answer of a model; `key` tells several questions about one answer apart."""
        ...

    async def embed(self, texts: Sequence[str], *, model: str = "minilm") -> Sequence[Sequence[float]]:
        """One vector for each text."""
        ...


Given: TypeAlias = Score | float | bool
Function: TypeAlias = Callable[..., Given | Awaitable[Given]]
Wanted: TypeAlias = "str | Function | Scorer"


class ScorerFailed(EvalError):
    """A scorer raised, or gave something that is no score: the sample is an error of that scorer, never a zero."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer, ready to be used."""

    name: str
    """As it stands in records and tables: the name, and the options that were given."""
    run: Function
    measure: bool = False
    """Whether its values are measures (seconds, dollars) of which less is better, rather than shares of what is right."""
    asks: bool = False
    """Whether it asks a model itself."""
    quick: bool = False
    """Whether it is ours and computes at once, so that it needs no thread of its own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What it was given beside its name."""

    def check(self, given: Any) -> Score:  # Any: whatever a foreign function gives
        """What a scorer gave, as a score.

        Raises:
            ScorerFailed: it is none.
        """
        score = given if isinstance(given, Score) else None
        if score is None:
            if isinstance(given, bool | int | float) or type(given).__name__ in {"bool_", "bool", "float64", "float32", "int64"}:
                score = Score(float(given))
            else:
                raise ScorerFailed(f"{self.name} gave {str(given)[:40]!r}: a scorer gives a number from 0 to 1, true, false or a Score")
        value = score.value
        if isinstance(value, bool | int):
            value = float(value)
        if not isinstance(value, float) or not math.isfinite(value):
            raise ScorerFailed(f"{self.name} gave {str(value)[:40]!r}, which is no number from 0 to 1")
        if value < 0 or (value > 1 and not self.measure):
            raise ScorerFailed(f"{self.name} gave {value:g}, which is not from 0 to 1")
        passed = score.passed
        if passed is None and not self.measure:
            passed = value >= 0.5
        return Score(value, str(score.note), passed)


def measure(function: Function) -> Function:
    """Marks a scorer whose values are measures of which less is better: seconds, dollars, characters."""
    function.measure = True  # type: ignore[attr-defined]
    return function


def names() -> list[str]:
    """The scorers that can be named."""
    return registered("scorer")


def scorer(name: str, /, **options: Any) -> Scorer:  # Any: whatever the scorer takes
    """A scorer by name with options: `scorer("numeric", tolerance=0.01)`.

    Raises:
        UsageError: there is none of that name, or it does not take an option, or needs one.
    """
    try:
        function = find("scorer", name)
    except ConfigError:
        raise UsageError(f"there is no scorer {name!r}.{did_you_mean(name, names())} There are {', '.join(names())}.") from None
    taken = inspect.signature(function).parameters
    known = [key for key, one in taken.items() if one.kind is one.KEYWORD_ONLY and key != "ask"]
    for key in options:
        if key not in known:
            said = f" It takes {', '.join(known)}." if known else " It takes none."
            raise UsageError(f"the scorer {name} has no option {key!r}.{did_you_mean(key, known)}{said}")
    for key in known:
        if taken[key].default is inspect.Parameter.empty and key not in options:
            raise UsageError(f"the scorer {name} needs {key}: write {name}:{key}=…")
    _check(name, function, options)
    said = ",".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items())
    return _made(f"{name}:{said}" if said else name, function, options)


def resolve(wanted: Wanted) -> Scorer:
    """A scorer out of `name`, `name:value`, `name:key=value,key=value`, or a Python function of an answer and a sample.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(wanted, Scorer):
        return wanted
    if isinstance(wanted, str):
        return _parse(wanted)
    if not callable(wanted):
        raise UsageError(f"{str(wanted)[:40]!r} is no scorer: give a name such as exact, or a function of an answer and a sample")
    try:
        inspect.signature(wanted).bind("answer", "sample", **({"ask": None} if "ask" in inspect.signature(wanted).parameters else {}))
    except (TypeError, ValueError):
        raise UsageError(f"the scorer {getattr(wanted, '__name__', wanted)} must take an answer and a sample, and nothing else") from None
    return _made(getattr(wanted, "__name__", type(wanted).__name__), wanted, {})


def _parse(text: str) -> Scorer:
    name, colon, rest = text.partition(":")
    try:
        function = find("scorer", name.strip())
    except ConfigError:
        return scorer(name.strip())  # says that there is none
    if not colon:
        return scorer(name.strip())
    known = [key for key, one in inspect.signature(function).parameters.items() if one.kind is one.KEYWORD_ONLY and key != "ask"]
    options: dict[str, Any] = {}
    first = rest.partition("=")[0].strip()
    if first not in known:  # one value for the first option, whatever signs it holds: regex:^\d+$
        if not known:
            raise UsageError(f"the scorer {name} takes no options, so {text!r} cannot be read")
        options[known[0]] = rest
        return scorer(name.strip(), **_typed(function, options))
    key = ""
    for part in rest.split(","):
        head, equals, value = part.partition("=")
        if equals and head.strip() in known:
            key = head.strip()
            options[key] = value
        elif key:
            options[key] += "," + part
    return scorer(name.strip(), **_typed(function, options))


def _typed(function: Function, options: Mapping[str, str]) -> dict[str, Any]:
    """Options that came as texts, as the function's own annotations want them."""
    found: dict[str, Any] = {}
    for key, text in options.items():
        said = inspect.signature(function).parameters[key].annotation
        kind = said if isinstance(said, str) else getattr(said, "__name__", "")
        try:
            if kind.startswith("float"):
                found[key] = float(text)
            elif kind.startswith("int"):
                found[key] = int(text)
            elif kind.startswith("bool"):
                found[key] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.strip().lower()]
            else:
                found[key] = text
        except (ValueError, KeyError):
            raise UsageError(
                f"the option {key} is {text[:40]!r}, which is not {'a number' if kind[:1] in 'fi' else 'true or false'}"
            ) from None
    return found


def _made(name: str, function: Function, options: Mapping[str, Any]) -> Scorer:
    return Scorer(
        name=name,
        run=function,
        measure=bool(getattr(function, "measure", False)),
        asks="ask" in inspect.signature(function).parameters,
        quick=getattr(function, "__module__", "").startswith("aiplat_lab.evals"),
        options=dict(options),
    )


def _check(name: str, function: Function, options: Mapping[str, Any]) -> None:
    """Lets a scorer look at its options before a run begins."""
    check = getattr(function, "check_options", None)
    if check is not None:
        try:
            check(**options)
        except ValueError as error:
            raise UsageError(f"the scorer {name}: {error}") from None
