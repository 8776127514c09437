"""Invented prompts of the demo ledger: the versions of each, and the moves of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A saved version of a prompt."""

    version: str
    days_ago: float
    change: str
    reason: str
    message: str
    author: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A label that was moved."""

    label: str
    version: str
    days_ago: float
    by: str
    reason: str
    evidence: tuple[str, str] | None = None
    """Evalset and version of the newest run before that speaks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A prompt's versions and moves, oldest first."""

    versions: Sequence[Version]
    moves: Sequence[Move]

    def in_production(self, days_ago: float) -> str:
        """The version that the label `production` meant then."""
        moves = [move for move in self.moves if move.label == "production"]
        return next((move.version for move in reversed(moves) if move.days_ago >= days_ago), moves[0].version)


def _file(name: str, description: str, body: str, *, model: str = "fast", variables: str = "", settings: str = "temperature: 0.2") -> str:
    front = f"name: {name}\ndescription: {description}\nmodel: {model}\nsettings:\n  {settings}\nvariables:\n{variables}"
    return f"---\n{front}\n---\n{body}\n"


def _story(
    name: str, description: str, variable: str, bodies: Sequence[tuple[str, float, str, str, str, str]], moves: Sequence[Move]
) -> Story:
    """Versions that differ in their text alone."""
    variables = f"  {variable}:\n    type: string\n    required: true"
    return Story(
        versions=[
            Version(
                version=version,
                days_ago=ago,
                change=change,
                reason=reason,
                message=message,
                author="user-03",
                text=_file(name, description, body, variables=variables),
            )
            for version, ago, change, reason, message, body in bodies
        ],
        moves=moves,
    )


_CLAIM = "  claim:\n    type: string\n    required: true\n    description: what the customer reports"
_REGION = "\n  region:\n    type: string\n    required: false\n    default: England"
_TRIAGE_1 = """# system
You sort insurance claims for the desk.

Answer with one class and one sentence that says why.
The classes are: simple, complex, referral.

# user
{{ claim }}"""
_TRIAGE_11 = """# system
You sort insurance claims for the desk in {{ region }}.

Answer with one class and one sentence that says why.
The classes are: simple, complex, referral.

# user
{{ claim }}"""
_TRIAGE_2 = """# system
You sort insurance claims for the desk in {{ region }}.

Write the class first, then a colon, then one sentence that says why.
- simple: one cause, and an estimate of at most £2,000
- complex: several causes, damage that grew over time, or an estimate above £2,000
- referral: anything that points to an earlier claim or to intent

When two classes fit, take the later one in this list.

# user
{{ claim }}"""
_TRIAGE_21 = _TRIAGE_2.replace("one sentence that says why", "one short sentence that names the fact that decides").replace(
    "When two classes fit, take the later one in this list.",
    "When two classes fit, take the later one in this list. Do not ask for more documents.",
)

_TRIAGE = Story(
    versions=[
        Version(
            version="1.0.0",
            days_ago=88,
            change="first",
            reason="the first version",
            message="From the desk's handbook",
            author="user-02",
            text=_file("triage", "Sorts a claim into one of three classes", _TRIAGE_1, variables=_CLAIM),
        ),
        Version(
            version="1.1.0",
            days_ago=61,
            change="minor",
            reason="an optional variable was added: region",
            message="Scottish claims name their own rules",
            author="user-02",
            text=_file("triage", "Sorts a claim into one of three classes", _TRIAGE_11, variables=_CLAIM + _REGION),
        ),
        Version(
            version="2.0.0",
            days_ago=27,
            change="major",
            reason="the output schema was narrowed: the class stands first",
            message="Rules for each class in place of bare names",
            author="user-05",
            text=_file(
                "triage", "Sorts a claim into one of three classes", _TRIAGE_2, variables=_CLAIM + _REGION, settings="temperature: 0"
            ),
        ),
        Version(
            version="2.0.1",
            days_ago=5,
            change="patch",
            reason="the text alone was changed",
            message="Shorter reasons",
            author="user-05",
            text=_file(
                "triage", "Sorts a claim into one of three classes", _TRIAGE_21, variables=_CLAIM + _REGION, settings="temperature: 0"
            ),
        ),
    ],
    moves=[
        Move(label="production", version="1.0.0", days_ago=87.9, by="user-02", reason="the first one that the desk uses"),
        Move(label="production", version="1.1.0", days_ago=58, by="user-02", reason="asked for by the desk in Glasgow"),
        Move(label="staging", version="2.0.0", days_ago=27, by="user-05", reason="to be evaluated"),
        Move(
            label="production",
            version="2.0.0",
            days_ago=21,
            by="user-02",
            reason="better than 1.1.0 on claims-triage",
            evidence=("claims-triage", "2.0.0"),
        ),
        Move(label="staging", version="2.0.1", days_ago=5, by="user-05", reason="to be evaluated"),
    ],
)

_HELP_RULES = "You answer customers of a home-energy supplier.\nBe brief, kind and exact. Never promise a refund."
_HELP = _story(
    "help-answer",
    "Answers a customer of the help desk",
    "question",
    [
        ("1.0.0", 86, "first", "the first version", "As the help desk writes", f"# system\n{_HELP_RULES}\n\n# user\n{{{{ question }}}}"),
        (
            "1.1.0",
            44,
            "minor",
            "a setting was changed: temperature",
            "Says what the customer can do next",
            f"# system\n{_HELP_RULES}\nEnd with the next step that the customer can take.\n\n# user\n{{{{ question }}}}",
        ),
        (
            "1.1.1",
            16,
            "patch",
            "the text alone was changed",
            "Half the length",
            "# system\nYou answer customers of a home-energy supplier.\nAnswer in at most twelve words. Never promise a refund."
            "\n\n# user\n{{ question }}",
        ),
    ],
    [
        Move(label="production", version="1.0.0", days_ago=85, by="user-04", reason="the first one in use"),
        Move(label="production", version="1.1.0", days_ago=40, by="user-04", reason="fewer customers write a second time"),
        Move(label="production", version="1.1.1", days_ago=14, by="user-09", reason="shorter answers cost less"),
        Move(
            label="production",
            version="1.1.0",
            days_ago=12,
            by="user-04",
            reason="taken back: worse on help-desk by a wide margin",
            evidence=("help-desk", "1.1.1"),
        ),
    ],
)
_INVOICE = _story(
    "invoice-fields",
    "Reads the fields of an invoice",
    "invoice",
    [
        (
            "1.0.0",
            80,
            "first",
            "the first version",
            "Six fields as JSON",
            "# system\nRead the invoice text and give supplier, number, date, net, tax and gross as JSON.\n\n# user\n{{ invoice }}",
        ),
        (
            "1.1.0",
            24,
            "minor",
            "the output schema was widened: a field may be null",
            "A field that is not there is null",
            "# system\nRead the invoice text and give supplier, number, date, net, tax and gross as JSON.\n"
            "Write amounts as numbers with two decimals. Write null for what the text does not say; never work it out."
            "\n\n# user\n{{ invoice }}",
        ),
    ],
    [
        Move(label="production", version="1.0.0", days_ago=79, by="user-07", reason="the first one in use"),
        Move(label="production", version="1.1.0", days_ago=19, by="user-07", reason="no invented tax any more"),
    ],
)
_WORDING = _story(
    "wording-check",
    "Compares a clause with the standard wording",
    "clause",
    [
        (
            "1.0.0",
            84,
            "first",
            "the first version",
            "From the wording team",
            "# system\nYou compare a clause with the standard wording. List each difference.\n\n# user\n{{ clause }}",
        ),
        (
            "1.0.1",
            33,
            "patch",
            "the text alone was changed",
            "Says whether cover changes",
            "# system\nYou compare a clause with the standard wording. List each difference and say whether it changes cover."
            "\n\n# user\n{{ clause }}",
        ),
    ],
    [
        Move(label="production", version="1.0.0", days_ago=83, by="user-02", reason="the first one in use"),
        Move(label="production", version="1.0.1", days_ago=32, by="user-02", reason="asked for by underwriting"),
    ],
)
_COPY = _story(
    "copy-draft",
    "Drafts a short text",
    "brief",
    [
        (
            "1.0.0",
            82,
            "first",
            "the first version",
            "The shop's voice",
            "# system\nYou draft short texts for a garden-tools shop. British English, no exclamation marks.\n\n# user\n{{ brief }}",
        )
    ],
    [Move(label="production", version="1.0.0", days_ago=82, by="user-11", reason="the first one in use")],
)
_PRODUCT = _story(
    "product-text",
    "Writes a product text from facts",
    "facts",
    [
        (
            "1.0.0",
            75,
            "first",
            "the first version",
            "Two sentences",
            "# system\nWrite a product text of two sentences from the facts given. Add no fact.\n\n# user\n{{ facts }}",
        ),
        (
            "1.0.1",
            9,
            "patch",
            "the text alone was changed",
            "Begins with what it is for",
            "# system\nWrite a product text of two sentences from the facts given. Begin with what the thing is for. Add no fact."
            "\n\n# user\n{{ facts }}",
        ),
    ],
    [
        Move(label="production", version="1.0.0", days_ago=74, by="user-11", reason="the first one in use"),
        Move(label="staging", version="1.0.1", days_ago=9, by="user-11", reason="in an A/B comparison"),
    ],
)

STORIES: Mapping[str, Story] = {
    "triage": _TRIAGE,
    "help-answer": _HELP,
    "invoice-fields": _INVOICE,
    "wording-check": _WORDING,
    "copy-draft": _COPY,
    "product-text": _PRODUCT,
}
