"""The labelled corpus of the detectors: how its values are invented, how it is read, and how detectors are measured on it.

Every value is made here from a seed; none is anybody's. Telephone numbers are of the ranges that Ofcom keeps for fiction, e-mail addresses
of the domains that RFC 2606 keeps for examples, NHS numbers of the range 9, which is kept for tests. Values with the form of keys do not
stand in the corpus file, where they would set off every scanner on the way, but as `{{detector:seed}}`, and are made when it is read.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiplat_lab.policies.detectors import DETECTORS, detect, disjoint
from aiplat_lab.policies.detectors._checks import IBAN_LENGTHS

CORPUS = Path(__file__).with_name("corpus.jsonl")
CHECKSUMS = ("nhs_number", "card", "iban")
"""The types whose checksum is verified."""
_KEY = re.compile(r"\{\{(\w+):(\d+)\}\}")
_ALNUM = string.ascii_letters + string.digits
_UPPER32 = string.ascii_uppercase + "234567"


@dataclass(frozen=True)
class Line:
    """One text of the corpus with what stands in it."""

    text: str
    labels: tuple[tuple[int, int, str], ...]
    kind: str


def digits(dice: random.Random, count: int) -> str:
    return "".join(dice.choice("0123456789") for _ in range(count))


def word(dice: random.Random, count: int, signs: str = _ALNUM) -> str:
    """Random signs with at least one digit and one letter among them."""
    text = [dice.choice(signs) for _ in range(count)]
    if signs == _ALNUM:
        text[0], text[-1] = dice.choice(string.ascii_letters), dice.choice("23456789")
    return "".join(text)


def luhn_digit(body: str) -> str:
    total = 0
    for place, sign in enumerate(reversed(body)):
        value = int(sign) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(dice: random.Random) -> str:
    head, length = dice.choice(
        [("4", 16), ("4", 16), ("51", 16), ("54", 16), ("2223", 16), ("34", 15), ("37", 15), ("6011", 16), ("3530", 16), ("36", 14)]
    )
    body = head + digits(dice, length - len(head) - 1)
    number = body + luhn_digit(body)
    style = dice.choice(["", " ", "-", " "])
    if not style or length == 14:
        return number
    if length == 15:
        return style.join((number[:4], number[4:10], number[10:]))
    return style.join(number[place : place + 4] for place in range(0, 16, 4))


def nhs_number(dice: random.Random) -> str:
    while True:
        body = "9" + digits(dice, 8)
        check = 11 - sum((10 - place) * int(sign) for place, sign in enumerate(body)) % 11
        if check != 10 and len(set(body)) > 3:
            number = body + str(check % 11)
            style = dice.choice([" ", " ", "-", ""])
            return style.join((number[:3], number[3:6], number[6:]))


def iban(dice: random.Random) -> str:
    country = dice.choice(["GB", "GB", "DE", "FR", "IE", "NL", "ES", "PL", "CH", "NO", "MT", "IT"])
    length = IBAN_LENGTHS[country] - 4
    letters = {"GB": 4, "IE": 4, "NL": 4, "MT": 4, "IT": 1}.get(country, 0)
    body = "".join(dice.choice(string.ascii_uppercase) for _ in range(letters)) + digits(dice, length - letters)
    check = 98 - int("".join(str(int(sign, 36)) for sign in f"{body}{country}00")) % 97
    text = f"{country}{check:02d}{body}"
    return dice.choice([text, " ".join(text[place : place + 4] for place in range(0, len(text), 4))])


def uk_nino(dice: random.Random) -> str:
    while True:
        prefix = dice.choice("ABCEGHJKLMNOPRSTWXYZ") + dice.choice("ABCEGHJKLMNPRSTWXYZ")
        if prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}:
            break
    number, end = digits(dice, 6), dice.choice("ABCD")
    style = dice.choice(["", " ", "", "-"])
    text = style.join((prefix, number[:2], number[2:4], number[4:], end))
    return text.lower() if dice.random() < 0.1 else text


def uk_postcode(dice: random.Random) -> str:
    area = dice.choice(
        ["SW1A", "EC2V", "M1", "LS2", "B33", "CR2", "DN55", "W1T", "EH1", "CF10", "BT7", "G12", "NE4", "OX2", "YO31", "TN9", "L8", "SA6"]
    )
    return f"{area} {dice.choice(string.digits)}{dice.choice('ABDEFGHJLNPQRSTUWXYZ')}{dice.choice('ABDEFGHJLNPQRSTUWXYZ')}"


def uk_sort_code(dice: random.Random) -> str:
    number = digits(dice, 6)
    return dice.choice(["-", "-", " ", ""]).join((number[:2], number[2:4], number[4:]))


def uk_account(dice: random.Random) -> str:
    return digits(dice, 8)


def uk_driving_licence(dice: random.Random) -> str:
    surname = dice.choice(["MORGA", "SMITH", "LEE99", "OKAFO", "PATEL", "DAVIE", "NG999", "HUGHE"])
    month = dice.randint(1, 12) + dice.choice([0, 50])
    initials = dice.choice(["SM", "A9", "JP", "K9", "RT"])
    end = dice.choice("9876") + "".join(dice.choice(string.ascii_uppercase) for _ in range(2))
    text = f"{surname}{dice.randint(3, 9)}{month:02d}{dice.randint(1, 28):02d}{dice.randint(0, 9)}{initials}{end}"
    return dice.choice([text, text, f"{text[:5]} {text[5:11]} {text[11:]}"])


def passport(dice: random.Random) -> str:
    return dice.choice([digits(dice, 9), digits(dice, 9), dice.choice(string.ascii_uppercase) + digits(dice, 8)])


def phone(dice: random.Random) -> str:
    end = digits(dice, 3)
    return dice.choice(
        [
            f"07700 900{end}",
            f"07700900{end}",
            f"+44 7700 900{end}",
            f"+447700900{end}",
            f"020 7946 0{end}",
            f"(020) 7946 0{end}",
            f"0113 496 0{end}",
            f"01632 960{end}",
            f"+44 (0)20 7946 0{end}",
            f"0808 157 0{end}",
            f"029 2018 0{end}",
            f"+1 202 555 0{end}",
            f"00447700900{end}",
            f"07700-900-{end}",
        ]
    )


def email(dice: random.Random) -> str:
    local = dice.choice(["jane.doe", "j.smith+news", "o'neill", "team_risk", "a", "info", "maria-luisa", "x.y.z", "jürgen", "no-reply"])
    domain = dice.choice(["example.com", "example.org", "mail.example.net", "dept.example.com", "example.co.uk.example", "my-bank.example"])
    return f"{local.replace(chr(39), '')}{dice.randint(1, 99) if dice.random() < 0.4 else ''}@{domain}"


def _pem(dice: random.Random) -> str:
    kind = dice.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
    lines = [word(dice, 64, _ALNUM + "+/") for _ in range(dice.randint(4, 24))]
    join = dice.choice(["\n", "\n", "\\n"])
    return join.join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"])


def _jwt(dice: random.Random) -> str:
    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': digits(dice, 8), 'iat': dice.randint(1, 10**9)})}.{word(dice, 43, _ALNUM + '_-')}"


KEYS: dict[str, Callable[[random.Random], str]] = {
    "openai_key": lambda dice: dice.choice(["sk-proj-" + word(dice, 90), "sk-" + word(dice, 48), "sk-svcacct-" + word(dice, 60)]),
    "anthropic_key": lambda dice: "sk-ant-api03-" + word(dice, 93) + "-" + word(dice, 8) + "AA",
    "google_key": lambda dice: "AIza" + word(dice, 35),
    "aws_access_key": lambda dice: dice.choice(["AKIA", "ASIA"]) + word(dice, 16, _UPPER32),
    "aws_secret_key": lambda dice: word(dice, 40),
    "azure_key": lambda dice: dice.choice([word(dice, 52) + "JQQJ99" + word(dice, 26), "Abc8Q~" + word(dice, 34)]),
    "huggingface_token": lambda dice: "hf_" + word(dice, 34, string.ascii_letters),
    "github_token": lambda dice: dice.choice(
        ["ghp_" + word(dice, 36), "github_pat_" + word(dice, 22) + "_" + word(dice, 59), "gho_" + word(dice, 36)]
    ),
    "slack_token": lambda dice: f"xoxb-{digits(dice, 12)}-{digits(dice, 13)}-{word(dice, 24)}",
    "stripe_key": lambda dice: dice.choice(["sk_live_", "rk_live_", "sk_test_"]) + word(dice, 24),
    "private_key": _pem,
    "jwt": _jwt,
    "aiplat_key": lambda dice: "aiplat-" + word(dice, 43),
    "provider_key": lambda dice: dice.choice(
        ["gsk_" + word(dice, 52), "xai-" + word(dice, 80), "r8_" + word(dice, 37), "pplx-" + word(dice, 48)]
    ),
}
VALUES: dict[str, Callable[[random.Random], str]] = {
    "email": email,
    "card": card,
    "iban": iban,
    "nhs_number": nhs_number,
    "uk_nino": uk_nino,
    "uk_postcode": uk_postcode,
    "uk_sort_code": uk_sort_code,
    "uk_account": uk_account,
    "uk_driving_licence": uk_driving_licence,
    "passport": passport,
    "phone": phone,
}


def key(name: str, seed: int) -> str:
    """An invented value with the form of a key."""
    return KEYS[name](random.Random(f"{name}:{seed}"))


def corpus() -> Iterator[Line]:
    """The texts of the corpus, with their keys made."""
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        labels = [tuple(label) for label in data["labels"]]
        text, done = "", 0
        made: list[tuple[int, int, str]] = []
        source = data["text"]
        moved = []
        for match in _KEY.finditer(source):
            text += source[done : match.start()]
            value = key(match[1], int(match[2]))
            made.append((len(text), len(text) + len(value), match[1]))
            text += value
            done = match.end()
            moved.append((match.end(), len(text) - match.end()))
        text += source[done:]
        for start, end, name in labels:
            shift = next((by for at, by in reversed(moved) if at <= start), 0)
            made.append((start + shift, end + shift, name))
        yield Line(text, tuple(sorted(made)), data["kind"])


@dataclass
class Score:
    """What a detector got right."""

    wanted: int = 0
    found: int = 0
    """Of the wanted ones, those that a finding of the type covers whole."""
    claimed: int = 0
    right: int = 0
    """Of the claimed ones, those that overlap a label of the type."""

    @property
    def recall(self) -> float:
        return self.found / self.wanted if self.wanted else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.claimed if self.claimed else 1.0


def measured() -> dict[str, Score]:
    """Each detector's score on the whole corpus."""
    scores = {name: Score() for name in DETECTORS}
    for line in corpus():
        findings = disjoint(detect(line.text))
        for start, end, name in line.labels:
            scores[name].wanted += 1
            scores[name].found += any(one.start <= start and one.end >= end and one.detector.name == name for one in findings)
        for one in findings:
            score = scores[one.detector.name]
            score.claimed += 1
            score.right += any(one.start < end and start < one.end and name == one.detector.name for start, end, name in line.labels)
    return scores


def mistakes() -> Iterator[str]:
    """Each miss and each false finding, for whoever works on a detector."""
    for line in corpus():
        findings = disjoint(detect(line.text))
        for start, end, name in line.labels:
            if not any(one.start <= start and one.end >= end and one.detector.name == name for one in findings):
                yield f"missed {name} {line.text[start:end]!r} in {line.text[max(0, start - 50) : end + 20]!r}"
        for one in findings:
            if not any(one.start < end and start < one.end and name == one.detector.name for start, end, name in line.labels):
                yield f"false {one.detector.name} {line.text[one.start : one.end]!r} in {line.text[max(0, one.start - 50) : one.end + 20]!r}"


def kinds() -> Counter[str]:
    """How many texts there are of each kind."""
    return Counter(line.kind for line in corpus())
