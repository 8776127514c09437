"""Whether two questions that sound alike may share an answer: guards that look at what an embedding does not.

Each guard reads plain marks of a question: numbers, names, negations, opposites, units, times, quoted text, the kind of question, the
language, and words that only one of the two has. All must agree; a guard that cannot tell says no. They are written for English and
refuse what they take for another language.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

MAX_BYTES = 800
"""Longer questions are not compared: the embedded model would read their beginning alone."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_QUOTED = re.compile(r"`[^`]{1,200}`|\"[^\"]{1,200}\"|“[^”]{1,200}”")
_BEGINS = re.compile(r"(?:^|[.!?:]\s{1,4}|\n)[\"'“(]?(?=\w)")
_SIGNS = re.compile(r"[£$€¥%°#+*=<>&|^~]|/(?=\s)|\bC\+\+")


def _set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_ORDINALS = (
    *("zero", "one first once", "two second twice", "three third", "four fourth", "five fifth", "six sixth", "seven seventh"),
    *("eight eighth", "nine ninth", "ten tenth", "eleven eleventh", "twelve twelfth"),
)
_NUMBER_WORDS = {word: str(number) for number, words in enumerate(_ORDINALS) for word in _set(words)} | {
    word: word for word in _set("twenty thirty forty fifty sixty hundred thousand million billion half quarter third double triple dozen")
}
_NEGATIONS = _set(
    "not no never none neither nor nobody nothing nowhere without cannot except excluding unless non isn aren wasn weren don doesn "
    "didn can't won't isn't aren't wasn't weren't don't doesn't didn't shouldn't wouldn't couldn't haven't hasn't hadn't mustn't"
)
_OPPOSITES = _set(
    "more less most least fewer greater smaller larger bigger higher lower highest lowest above below under down increase decrease "
    "increases decreases rise fall grow shrink maximum minimum max min before after earlier later earliest latest oldest newest old "
    "new first last next previous start stop begin end open close opened closed enable disable enabled disabled off out add remove "
    "include exclude included excluded import export importing exporting upload download buy sell buying selling borrow lend lending "
    "borrowing left right north south east west ascending descending encrypt decrypt encode decode lock unlock install uninstall "
    "allow deny allowed forbidden legal illegal true false hot cold best worst advantages disadvantages pros cons positive negative "
    "gain loss profit debit credit incoming outgoing internal external inside outside public private men women male female mother "
    "father son daughter employer employee landlord tenant buyer seller sender receiver sent received send receive input output "
    "inputs outputs read write push pull join leave accept reject agree disagree approve without hard soft fast slow early late full "
    "empty gross net paid unpaid upgrade downgrade mandatory optional always sometimes all any some every both either only just"
)
_UNITS = _set(
    "mm cm m km metre metres meter meters kilometre kilometres kilometer kilometers mile miles yard yards foot feet inch inches acre "
    "acres hectare hectares litre litres liter liters ml pint pints gallon gallons g kg gram grams kilogram kilograms tonne tonnes "
    "ton tons lb lbs pound pounds ounce ounces stone celsius fahrenheit kelvin degrees percent percentage euro euros dollar dollars "
    "sterling yen rupee rupees gbp usd eur kb mb gb tb byte bytes bit bits kilobytes megabytes gigabytes terabytes watt watts kw kwh "
    "volt volts amp amps mph kph knots calories joules hz mhz ghz"
)
_TIMES = _set(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct "
    "nov dec monday tuesday wednesday thursday friday saturday sunday today yesterday tomorrow tonight morning afternoon evening "
    "night noon midnight spring summer autumn winter easter christmas second seconds minute minutes hour hours day days week weeks "
    "weekend weekday weekends weekdays fortnight month months quarter quarters year years decade century daily weekly monthly "
    "quarterly yearly annual annually hourly bc ad am pm current currently now recent since until ago"
)
_KINDS = _set("who whom whose when where why which")
_FORMS = _set(
    "word words sentence sentences paragraph paragraphs line lines page pages bullet bullets list table json yaml xml csv html "
    "markdown poem letter email essay tweet summary short brief briefly long detailed detail simple formal informal python javascript "
    "java rust ruby sql bash english french german spanish italian welsh polish"
)
_DIRECTIONS = _set("from to than versus vs into between")
_STOP = _set(
    "a an the this that these those it its is are was were be been being am do does did doing have has had having will would shall "
    "should can could may might must i me my mine we us our ours you your yours he him his she her hers they them their theirs what "
    "how of for to from by with at as about into than then so and or but if there here please kindly tell explain describe give show "
    "let know say want need like wonder wondering ask get got go make work help answer question information info exactly really "
    "actually very much many way ways mean means meaning thing things someone somebody one ones people person s t re ve ll d m im "
    "whats hows"
)
_STARTERS = _set(
    "summarise summarize write list name find translate convert calculate compute compare suggest recommend draft define outline is "
    "are was were which what how why should does did will in on at for if when after before during under according"
)
_ORDINARY = _STOP | _NEGATIONS | _KINDS | _FORMS | _OPPOSITES | _STARTERS
_FOREIGN = {
    "fr": _set("le la les des est une dans pour que qui quel quelle comment pourquoi avec sur vous je nous est-ce combien"),
    "de": _set("der die das und ist ein eine wie was warum nicht mit für von ich wir wann welche wo kann zu"),
    "es": _set("el los las una es en para que qué cómo por con del cuál dónde cuándo cuánto está"),
    "it": _set("il gli una è per che come perché con del della quale dove quando sono di"),
    "pt": _set("o os uma é em para que como por com do da qual onde quando não são"),
    "nl": _set("de het een is en van hoe wat waarom niet met voor ik wij wanneer welke waar kan"),
    "pl": _set("jest jak co dlaczego nie z na do czy kiedy gdzie ile który w i"),
    "cy": _set("y yr yn mae beth sut pam pryd ble ydy wedi gan i o"),
}
_ENGLISH = _set("the is are of to in and what how why when where which who does do can a for on with i my it that should")
_SUFFIXES = ("ations", "ation", "ings", "ing", "ments", "ment", "ies", "ied", "ers", "er", "ed", "es", "ly", "s", "e", "y")


@dataclass(frozen=True, slots=True)
class Marks:
    """What the guards look at in one question."""

    numbers: tuple[str, ...]
    names: tuple[str, ...]
    negations: int
    opposites: tuple[str, ...]
    units: tuple[str, ...]
    times: tuple[str, ...]
    verbatim: tuple[str, ...]
    kind: tuple[str, ...]
    form: tuple[str, ...]
    language: str
    words: tuple[str, ...]
    """What carries the rest of the meaning, crudely stemmed, in order."""
    directed: bool
    """Whether the order of its words matters, as in *from … to*."""


def marks(text: str) -> Marks:
    """The marks of a question."""
    words = [match.group().replace("’", "'") for match in _WORD.finditer(text)]
    low = [word.lower() for word in words]
    numbers = [match.group().replace(",", "") for match in _NUMBER.finditer(text)]
    numbers += [_NUMBER_WORDS[word] for word in low if word in _NUMBER_WORDS]
    known = _STOP | _NEGATIONS | _NUMBER_WORDS.keys()
    return Marks(
        numbers=tuple(numbers),
        names=tuple(_names(text)),
        negations=sum(word in _NEGATIONS or word.endswith("n't") for word in low),
        opposites=_among(low, _OPPOSITES),
        units=tuple(word for word in low if word in _UNITS) + tuple(sorted(_SIGNS.findall(text))),
        times=_among(low, _TIMES),
        verbatim=tuple(sorted([*_QUOTED.findall(text), *_codes(text)])),
        kind=_kind(text.lower(), low),
        form=_among(low, _FORMS),
        language=_language(text, low),
        words=tuple(_stem(word) for word in low if word not in known and len(word) > 1),
        directed=any(word in _DIRECTIONS for word in low),
    )


def disagreement(one: Marks, other: Marks) -> str:
    """The guard that keeps two questions from sharing an answer, or an empty text where none does."""
    for guard in ("language", "numbers", "names", "negations", "opposites", "units", "times", "verbatim", "kind", "form"):
        if getattr(one, guard) != getattr(other, guard):
            return guard
    return _words(one, other)


GUARDS = ("language", "numbers", "names", "negations", "opposites", "units", "times", "verbatim", "kind", "form", "words", "order")
"""Every guard by name, in the order in which they are asked."""


def _words(one: Marks, other: Marks) -> str:
    """A word that was swapped, added or left out changes the question more often than not; two reworded places are left to the model."""
    left, right = Counter(one.words), Counter(other.words)
    only, instead = sum((left - right).values()), sum((right - left).values())
    if not only and not instead:
        moved = [pair for pair in zip(one.words, other.words, strict=True) if pair[0] != pair[1]]
        swapped = len(moved) == 2 and moved[0] == moved[1][::-1]
        return "order" if swapped or (moved and (one.directed or other.directed)) else ""
    return "words" if min(only, instead) == 0 or only == instead == 1 else ""


def _names(text: str) -> list[str]:
    """Words with a capital that are not ordinary ones, in their order; abbreviations count everywhere but at a beginning."""
    begins = {match.end() for match in _BEGINS.finditer(text)}
    found = []
    for match in _WORD.finditer(text):
        word = match.group().removesuffix("'s").removesuffix("’s")
        if not word[:1].isupper() or word == "I":
            continue
        ordinary = word.lower() in _ORDINARY
        if not ordinary or (word.isupper() and match.start() not in begins):
            found.append(word.lower())
    return found


def _codes(text: str) -> list[str]:
    """Words that are to be taken letter by letter: addresses, paths, versions, names with digits or underscores in them."""
    found = []
    for token in text.split():
        core = token.strip("?.,;:!()'\"`“”")
        mixed = any(sign.isdigit() for sign in core) and any(sign.isalpha() for sign in core)
        if mixed or "@" in core or any(sign in core[1:-1] for sign in "_/\\."):
            found.append(core)
    return found


def _among(words: list[str], wanted: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(word for word in words if word in wanted))


def _kind(text: str, words: list[str]) -> tuple[str, ...]:
    found = [word for word in words if word in _KINDS]
    found += [phrase for phrase in ("how many", "how much", "how long", "how often", "how far", "how old") if phrase in text]
    return tuple(sorted(found))


def _language(text: str, words: list[str]) -> str:
    """A guess by common words and letters; English where nothing speaks against it."""
    if sum(ord(sign) > 0x24F and sign.isalpha() for sign in text) * 2 > sum(sign.isalpha() for sign in text):
        return "other"
    english = sum(word in _ENGLISH for word in words)
    scores = {name: sum(word in common for word in words) for name, common in _FOREIGN.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > english else "en"


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word.removesuffix(suffix)
    return word
