"""E-mail addresses, payment cards and IBANs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiplat_lab.policies.detectors import _checks
from aiplat_lab.policies.detectors._detector import Detector, Span, matches

_EMAIL = re.compile(r"(?<![\w.%+-])([\w.%+-]{1,64})@((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_]{2,24}))(?![\w-])(?!\.[\w-])")
_NOT_A_DOMAIN = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "tsx", "py", "json", "md", "html", "whl", "gz"})

_CARD = re.compile(
    r"(?<![0-9A-Fa-f.])(?<![0-9]-)(?:[0-9]{13,19}|([0-9]{4}([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4})(?:\2[0-9]{1,3})?"
    r"|3[0-9]{3}([ -])[0-9]{6}\3[0-9]{4,5})(?![0-9])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}")


def _email(match: re.Match[str]) -> bool:
    local, ending = match[1], match[3].lower()
    return ending not in _NOT_A_DOMAIN and local != "git" and not local.startswith(".") and not local.endswith(".") and ".." not in local


def _card(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        if _checks.card(re.sub("[ -]", "", match[0])):
            yield match.span()
        elif match[1] and match[1] != match[0] and _checks.card(re.sub("[ -]", "", match[1])):
            yield match.span(1)


def _iban(text: str) -> Iterator[Span]:
    start = 0
    while (match := _IBAN.search(text, start)) is not None:
        end = _iban_end(match)
        if end:
            yield match.start(), end
        start = end or match.start() + 4


def _iban_end(match: re.Match[str]) -> int:
    """Where the IBAN that begins here ends; 0 where none does."""
    length = _checks.IBAN_LENGTHS.get(match[0][:2].upper())
    if length is None:
        return 0
    signs: list[str] = []
    end = match.start()
    for place, sign in enumerate(match[0], match.start()):
        if sign not in " -":
            signs.append(sign)
            if len(signs) == length:
                end = place + 1
                break
    following = match.string[end : end + 1]
    if len(signs) < length or (following.isascii() and following.isalnum()):
        return 0
    return end if _checks.iban("".join(signs).upper()) else 0


PAYMENT = (
    Detector(name="email", title="e-mail address", group="contact", find=matches(_EMAIL, _email), hints=("@",), rank=2),
    Detector(name="card", title="payment card: issuer range, length and Luhn digit", group="payment", find=_card, digits=True, rank=3),
    Detector(name="iban", title="IBAN: length of its country and check digits", group="payment", find=_iban, digits=True, rank=3),
)
