"""Numbers and codes of people in the United Kingdom."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiplat_lab.policies.detectors import _checks
from aiplat_lab.policies.detectors._detector import Detector, Span, matches, said_around, said_near

_NINO = re.compile(r"(?<![A-Za-z0-9])([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])([ -]?)[0-9]{2}\2[0-9]{2}\2[0-9]{2}\2[A-D](?![A-Za-z0-9])", re.I)
_NOT_ALLOCATED = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})

_NHS = re.compile(r"(?<![\w.-])[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{4}(?![\w-])")
_NHS_WORDS = re.compile(r"\bnhs|patient|\bchi\b|hospital|\bgp\b|clinic|surgery|health number|\bh&c\b|\bmrn\b", re.I)
_HEALTH_SERVICE = re.compile(r"\bnhs", re.I)
_CALL_WORDS = re.compile(r"\btel|phone|\bcall|\bmob|\bfax|contact|\bring\b|whatsapp|\btext me|\bsms\b", re.I)

_AREA_LIST = (
    "AB AL BA BB BD BH BL BN BR BS BT B CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY EC EH EN EX E FK FY GL GU GY G HA "
    "HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY LA LD LE LL LN LS LU L ME MK ML M NE NG NN NP NR NW N OL OX PA PE PH PL PO PR "
    "RG RH RM SA SE SG SK SL SM SN SO SP SR SS ST SW SY S TA TD TF TN TQ TR TS TW UB WA WC WD WF WN WR WS WV W YO ZE"
)
_AREAS = frozenset(_AREA_LIST.split())
_POSTCODE = re.compile(
    r"(?<![\w-])([A-Z]{1,2})[0-9][0-9A-HJKMNPR-Y]?( ?)[0-9][ABD-HJLNP-UW-Z]{2}(?![\w-])|(?<![\w-])GIR( ?)0AA(?![\w-])", re.I
)
_POST_WORDS = re.compile(
    r"post ?code|address|\bliv(?:es?|ing) (?:at|in)|deliver|\b(?:street|road|lane|avenue|close|drive|court|way|place|gardens|terrace|"
    r"crescent|square|house|flat|st|rd|ave)\b",
    re.I,
)

_SORT = re.compile(r"(?<![\w./-])[0-9]{2}([ -]?)[0-9]{2}\1[0-9]{2}(?![\w]|[-./][0-9])")
_SORT_WORDS = re.compile(r"sort[ _-]?code|\bs/?c\b\s*[:=]|sort no", re.I)
_BANK_WORDS = re.compile(r"bank|account|\bacc?t?\b|\ba/c\b|sort|bacs|payee|transfer|direct debit|standing order", re.I)
_PAIR = re.compile(r"(?<![\w./-])([0-9]{2}-[0-9]{2}-[0-9]{2})[ ,/|;]{1,3}([0-9]{8})(?![\w-])")
_ACCOUNT = re.compile(r"(?<![\w./-])[0-9]{8}(?![\w]|[-./][0-9])|(?<![\w./-])[0-9]{4} [0-9]{4}(?![\w]|[ -./][0-9])")
_ACCOUNT_WORDS = re.compile(r"\bacc(?:oun)?t\b|\bacc(?:ount)?[ _]?(?:no|num)|\ba/?c\b|account_number|accountnumber", re.I)
_NUMBER_WORDS = re.compile(r"acc(?:oun)?t[ _]?(?:no|num|#)|\ba/?c\b", re.I)
_DAY = re.compile("(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")

_LICENCE = re.compile(
    r"(?<![A-Za-z0-9])([A-Z][A-Z9]{4})( ?)([0-9])([0-9]{2})([0-9]{2})([0-9])( ?)[A-Z][A-Z9][0-9A-Z][A-Z]{2}(?: ?[0-9]{2})?(?![A-Za-z0-9])",
    re.I,
)

_PASSPORT = re.compile(r"(?<![\w.-])(?:[0-9]{9}|[A-Z]{1,2}[0-9]{6,8})(?![\w-])", re.I)
_PASSPORT_WORDS = re.compile(r"passport|travel document", re.I)
_ZONE = re.compile(
    r"(?<![A-Z0-9<])([A-Z0-9<]{9})([0-9])[A-Z<]{3}([0-9]{6})([0-9])[MFX<]([0-9]{6})([0-9])[A-Z0-9<]{14}[0-9<][0-9](?![A-Z0-9<])"
)

_PHONE = re.compile(r"(?<![\w+./-])\(?0[0-9]{2,5}\)?(?:[ -]?[0-9]){5,8}(?![\w-])")
_ABROAD = re.compile(r"(?<![\w+.])(?:\+[0-9]{1,3}|\(\+[0-9]{1,3}\)|0044)[ .-]?(?:\(0?[0-9]{0,4}\)[ .-]?)?[0-9](?:[ .-]?[0-9]){6,12}(?!\w)")


def _figures(text: str) -> str:
    return "".join(sign for sign in text if "0" <= sign <= "9")


def _nino(match: re.Match[str]) -> bool:
    text = match[0]
    return match[1].upper() not in _NOT_ALLOCATED and (text.isupper() or text.islower())


def _nhs(match: re.Match[str]) -> bool:
    digits = _figures(match[0])
    if not _checks.nhs(digits) or len(set(digits)) < 3:
        return False
    if said_around(match, _NHS_WORDS) or _HEALTH_SERVICE.search(match.string) is not None:
        return not said_near(match, _CALL_WORDS, before=20)
    return bool(match[1]) and digits[0] in "4679" and not said_around(match, _CALL_WORDS, before=40, after=10)


def _postcode(match: re.Match[str]) -> bool:
    if match[1] and match[1].upper() not in _AREAS:
        return False
    return (match[0].isupper() and " " in match[0]) or said_around(match, _POST_WORDS, before=60, after=12)


def _sort_code(text: str) -> Iterator[Span]:
    for match in _SORT.finditer(text):
        if said_near(match, _SORT_WORDS, before=30, after=14):
            yield match.span()
    for match in _PAIR.finditer(text):
        if said_around(match, _BANK_WORDS):
            yield match.span(1)


def _account(text: str) -> Iterator[Span]:
    for match in _ACCOUNT.finditer(text):
        if said_near(match, _ACCOUNT_WORDS, before=40, after=12) and (not _DAY.fullmatch(match[0]) or said_near(match, _NUMBER_WORDS)):
            yield match.span()
    for match in _PAIR.finditer(text):
        if said_around(match, _BANK_WORDS):
            yield match.span(2)


def _licence(match: re.Match[str]) -> bool:
    surname, month, day = match[1].upper(), int(match[4]), int(match[5])
    return (1 <= month <= 12 or 51 <= month <= 62) and 1 <= day <= 31 and "9" not in surname.rstrip("9")


def _passport(text: str) -> Iterator[Span]:
    if _PASSPORT_WORDS.search(text):
        for match in _PASSPORT.finditer(text):
            if said_near(match, _PASSPORT_WORDS, before=50, after=16):
                yield match.span()
    for match in _ZONE.finditer(text):
        if all(_checks.travel_document(match[place], match[place + 1]) for place in (1, 3, 5)):
            yield match.span()


def _phone(text: str) -> Iterator[Span]:
    for match in _PHONE.finditer(text):
        if _is_phone(match):
            yield match.span()
    for match in _ABROAD.finditer(text):
        digits = _figures(match[0].replace("(0)", ""))
        if 8 <= len(digits) <= 16 and match[0].count(".") != 1:
            yield match.span()


def _is_phone(match: re.Match[str]) -> bool:
    digits = _figures(match[0])
    if digits[1] not in "123789" or len(digits) not in (10, 11) or len(set(digits)) < 3:
        return False
    if len(digits) == 10 and digits[1] not in "18":
        return False
    area = re.split("[ )-]", match[0].lstrip("("), maxsplit=1)[0]
    if digits != match[0].strip("()"):
        return len(area) <= 6
    mobile = len(digits) == 11 and digits[1] == "7" and digits[2] in "1345789"
    return mobile or said_around(match, _CALL_WORDS, before=40, after=10)


UK = (
    Detector(name="uk_nino", title="National Insurance number", group="uk", find=matches(_NINO, _nino), digits=True, rank=2),
    Detector(name="nhs_number", title="NHS number, check digit verified", group="uk", find=matches(_NHS, _nhs), digits=True, rank=3),
    Detector(name="uk_postcode", title="postcode", group="uk", find=matches(_POSTCODE, _postcode)),
    Detector(
        name="uk_sort_code", title="bank sort code", group="uk", find=_sort_code, digits=True,
        hints=("sort", "bank", "acc", "a/c", "s/c", "sc:", "sc =", "sc=", "bacs", "payee", "transfer", "debit", "standing"),
    ),
    Detector(
        name="uk_account", title="bank account number", group="uk", find=_account, digits=True,
        hints=("ac", "a/c", "bank", "sort", "bacs", "payee", "transfer", "debit", "standing"),
    ),
    Detector(
        name="uk_driving_licence", title="driving licence of Great Britain", group="uk", find=matches(_LICENCE, _licence),
        digits=True, rank=3,
    ),
    Detector(name="passport", title="passport number or machine-readable zone", group="uk", find=_passport, digits=True),
    Detector(name="phone", title="telephone number, United Kingdom or with +", group="contact", find=_phone, digits=True, rank=2),
)  # fmt: skip
