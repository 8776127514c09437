"""Texts of every kind that calls carry, and a stand-in for the tokenizers that providers use.

The stand-in splits as the tokenizers of today do (words with their space, digits by three, runs of marks and of spaces) and gives
each piece as many tokens as their vocabularies do on average. Its tokens a byte are those measured with o200k (GATEWAYS, §5): code 0.12
to 0.29, JSON 0.25 to 0.32, English 0.18 to 0.37, Chinese and Japanese 0.20 to 0.27, digits 0.33, base64 0.67 to 0.70.
"""

from __future__ import annotations

import base64
import json
import random
import re
import zlib
from collections.abc import Callable
from itertools import pairwise

_PIECES = re.compile(r" ?[A-Za-z]+| ?\d{1,3}| ?[^\sA-Za-z\d]+|\s+")
_ENGLISH_WORDS = """
the of and to in is that it was for on are as with his they be at one have this from or had by hot but some what there we can out
other were all your when up use word how said an each she which do their time if will way about many then them would write like so
these her long make thing see him two has look more day could go come did my sound no most number who over know water than call
first people may down side been now find any new work part take get place made live where after back little only round man year
came show every good me give our under name very through just form much great think say help low line before turn cause same mean
differ move right boy old too does tell sentence set three want air well also play small end put home read hand port large spell
add even land here must big high such follow act why ask men change went light kind off need house picture try us again animal
point mother world near build self earth father account customer statement balance transfer quarterly exposure regulatory
assessment counterparty underwriting settlement reconciliation jurisdiction documentation approximately nevertheless
responsibilities"""
_ENGLISH = _ENGLISH_WORDS.split()
_NAMES_WORDS = """count total index value result rows item config client response handler offset buffer parse_line to_json max_size"""
_NAMES = _NAMES_WORDS.split()
_HAN = "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后"
_KANA = "のにはをたがでてとしれさいるあなこもかられりうおんすまどきょ"


def english(rng: random.Random) -> str:
    rare = rng.random() * 0.25
    words = [_rare(rng) if rng.random() < rare else rng.choice(_ENGLISH) for _ in range(rng.randint(4, 700))]
    for index in range(0, len(words), rng.randint(7, 15)):
        words[index] = words[index].capitalize()
        if index:
            words[index - 1] += rng.choice([".", ".", ",", "?", ":"])
    return " ".join(words)


def _rare(rng: random.Random) -> str:
    """A name or a term that no vocabulary has whole, or a figure."""
    if rng.random() < 0.2:
        return f"{rng.randint(1, 99_999):,}"
    return "".join(rng.choice(["ka", "ren", "to", "vil", "sch", "mo", "ber", "tin", "ox"]) for _ in range(rng.randint(2, 5))).capitalize()


def code(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(3, 120)):
        depth = "    " * rng.randint(0, 4)
        one, two, three = (rng.choice(_NAMES) for _ in range(3))
        lines.append(
            rng.choice(
                [
                    f"{depth}for {one} in range({rng.randint(0, 99)}):",
                    f"{depth}{one} = {two}.{three}({one}, {rng.randint(0, 9)})",
                    f"{depth}if {one} is not None and {two} > {three}:",
                    f"{depth}return {one}[{two}]",
                    f"{depth}# {' '.join(rng.choice(_ENGLISH) for _ in range(8))}",
                    "",
                ]
            )
        )
    return "\n".join(lines)


def as_json(rng: random.Random) -> str:
    rows = [
        {"id": rng.randint(1, 10**6), "name": " ".join(rng.choice(_ENGLISH) for _ in range(3)), "active": rng.random() < 0.5,
         "amount": round(rng.random() * 1000, 2), "kind": rng.choice(_NAMES), "tags": [rng.choice(_ENGLISH) for _ in range(2)]}
        for _ in range(rng.randint(1, 60))
    ]  # fmt: skip
    return json.dumps(rows, indent=rng.choice([None, None, 2]))


def east_asian(rng: random.Random) -> str:
    letters = rng.choice([_HAN, _HAN + _KANA])
    return "".join(rng.choice(letters) + ("。" if rng.random() < 0.05 else "") for _ in range(rng.randint(5, 500)))


def base64_text(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(rng.randint(60, 3_000))).decode()


def digits(rng: random.Random) -> str:
    return "\n".join("".join(rng.choice("0123456789") for _ in range(rng.randint(12, 60))) for _ in range(rng.randint(3, 50)))


KINDS: dict[str, Callable[[random.Random], str]] = {
    "English": english, "code": code, "JSON": as_json, "CJK": east_asian, "base64": base64_text, "digits": digits,
}  # fmt: skip
USUAL = {"English": 50, "code": 18, "JSON": 15, "CJK": 9, "base64": 3, "digits": 5}
"""How often each is met in a hundred."""


def a_text(rng: random.Random) -> tuple[str, str]:
    """A kind and a text of it."""
    kind = rng.choices(list(USUAL), weights=list(USUAL.values()))[0]
    return kind, KINDS[kind](rng)


def tokens(text: str) -> int:
    """The tokens that the stand-in makes of a text."""
    return sum(_of_piece(piece) for piece in _PIECES.findall(text))


def _of_piece(piece: str) -> int:
    body = piece.strip()
    if not body:
        return 1 + len(piece) // 16
    if body.isascii() and body.isalpha():
        if body.lower() in _KNOWN:
            return 1
        humps = sum((before.islower() and here.isupper()) or (before.isupper() and here.isupper()) for before, here in pairwise(body))
        return max(1, round(humps * 0.8) + -(-len(body) // 7) + (zlib.crc32(body.encode()) & 1))
    if body.isdigit():
        return 1
    if body.isascii():
        return -(-len(body) // 3)
    return max(1, round(len(body) * (0.68 + (zlib.crc32(body.encode()) % 8) / 100)))


_KNOWN = {
    word.lower() for word in (*_ENGLISH, *(part for name in _NAMES for part in name.split("_")), "range", "return", "none", "true", "false")
}
