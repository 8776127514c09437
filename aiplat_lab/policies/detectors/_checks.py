"""Checksums of the numbers that have one."""

from __future__ import annotations


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of payment cards (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def nhs(digits: str) -> bool:
    """Whether the last of ten digits is the check digit of an NHS number (modulus 11)."""
    total = sum((10 - place) * (ord(digit) - 48) for place, digit in enumerate(digits[:9]))
    check = (11 - total % 11) % 11
    return check != 10 and check == ord(digits[9]) - 48


def iban(text: str) -> bool:
    """Whether the check digits of an IBAN in capitals without spaces are right (ISO 13616, modulus 97)."""
    turned = text[4:] + text[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def travel_document(field: str, check: str) -> bool:
    """Whether `check` is the check digit of a field in the machine-readable zone of a travel document (ICAO 9303)."""
    total = sum((0 if sign == "<" else int(sign, 36)) * (7, 3, 1)[place % 3] for place, sign in enumerate(field))
    return total % 10 == ord(check) - 48


IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23,
    "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
    "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28,
    "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
"""The length of an IBAN by country, as its registry lists them."""


def card(digits: str) -> bool:
    """Whether the digits are a payment card's: a known issuer range, a length that it uses, and the check digit."""
    return len(set(digits)) > 1 and len(digits) in _card_lengths(digits) and luhn(digits)


def _card_lengths(digits: str) -> tuple[int, ...]:
    two, three, four, six = int(digits[:2]), int(digits[:3]), int(digits[:4]), int(digits[:6])
    for low, high, value, lengths in (
        (40, 49, two, (13, 16, 19)),  # Visa
        (51, 55, two, (16,)),  # Mastercard
        (2221, 2720, four, (16,)),
        (34, 34, two, (15,)),  # American Express
        (37, 37, two, (15,)),
        (6011, 6011, four, (16, 17, 18, 19)),  # Discover
        (644, 659, three, (16, 17, 18, 19)),
        (3528, 3589, four, (16, 17, 18, 19)),  # JCB
        (300, 305, three, (14, 16, 19)),  # Diners Club
        (3095, 3095, four, (14, 16, 19)),
        (36, 36, two, (14, 16, 19)),
        (38, 39, two, (14, 16, 19)),
        (620000, 629999, six, (16, 17, 18, 19)),  # UnionPay
    ):
        if low <= value <= high:
            return lengths
    return (13, 15, 16, 18, 19) if four in _MAESTRO else ()


_MAESTRO = frozenset({5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763})
