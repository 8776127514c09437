"""Writes corpus.jsonl anew: `python tests/redaction/make_corpus.py`. Texts are written by hand with places for values; values come from a seed."""

from __future__ import annotations

import hashlib
import json
import random
import re
import uuid
from pathlib import Path

from corpuskit import CORPUS, KEYS, VALUES, card, digits, luhn_digit

PLACE = re.compile(r"\[(\w+)\]")
TEXTS: dict[str, list[str]] = {
    "email": [
        "Please reply to [email] before Friday.",
        "From: Jane Doe <[email]>\nTo: [email], [email]\nSubject: minutes",
        '{"user": {"name": "J. Smith", "email": "[email]"}, "active": true}',
        "mailto:[email]?subject=Hello",
        "The reviewer ([email]) disagreed with the findings; so did [email].",
        "contact=[email];role=admin",
        "id,name,mail\n17,Doe,[email]\n18,Poe,[email]\n",
        "2026-03-04 09:12:55 INFO login ok for [email] from 10.0.0.7",
        "* [email] - lead\n* [email] - deputy",
        "Bitte antworten Sie an [email], danke.",
    ],
    "card": [
        "Charge it to [card], expiry 12/27, CVV 123.",
        "card_number: [card]",
        '{"pan": "[card]", "exp": "08/29"}',
        "The customer read out [card] over the line.",
        "Card [card] was declined twice; the other one, [card], went through.",
        "Refund to card ending, full number [card].",
        "name,card,amount\nDoe,[card],12.50\n",
        "Paid with [card].",
        "PAN=[card]|AUTH=OK|AMT=1999",
    ],
    "iban": [
        "Please transfer the rent to [iban] by the 1st.",
        "IBAN: [iban]\nBIC: DEUTDEFF",
        '{"iban":"[iban]","holder":"Example Ltd"}',
        "Our accounts are [iban] and [iban].",
        "beneficiary [iban], reference 2026-118",
        "supplier;iban;terms\nAcme;[iban];30\n",
        "Bank details ([iban]) changed in May.",
    ],
    "nhs_number": [
        "Patient NHS number [nhs_number], seen in clinic on 3 May.",
        "NHS No: [nhs_number]",
        '{"nhs_number": "[nhs_number]", "ward": "7B"}',
        "Re: Mrs Doe, NHS [nhs_number], discharged today.",
        "The patient ([nhs_number]) reports no pain.",
        "nhs_no,dob,site\n[nhs_number],1970-01-02,RXX\n[nhs_number],1981-11-30,RXY\n",
        "Referral from the GP: [nhs_number], urgent.",
        "hospital record [nhs_number] was merged with [nhs_number]",
    ],
    "uk_nino": [
        "National Insurance number: [uk_nino]",
        "NI no. [uk_nino], start date 1 April",
        "Her NINO is [uk_nino].",
        '{"nino": "[uk_nino]", "tax_code": "1257L"}',
        "employee,nino\nDoe,[uk_nino]\nPoe,[uk_nino]\n",
        "Please quote [uk_nino] when you call.",
        "P45 for [uk_nino] attached",
    ],
    "uk_postcode": [
        "12 Example Road, London [uk_postcode]",
        "Deliver to Flat 2, 9 Sample Street, Leeds, [uk_postcode].",
        "postcode: [uk_postcode]",
        '{"address": "1 High Street", "postcode": "[uk_postcode]"}',
        "The site at [uk_postcode] closes; staff move to [uk_postcode].",
        "Surveys were posted to [uk_postcode] and [uk_postcode] in June.",
    ],
    "uk_sort_code": [
        "Sort code: [uk_sort_code]",
        "sort code [uk_sort_code] at the Example Bank",
        '{"sort_code": "[uk_sort_code]"}',
        "Sort-code is [uk_sort_code].",
        "The branch's sort code ([uk_sort_code]) has not changed.",
    ],
    "uk_account": [
        "Account number: [uk_account]",
        "a/c no [uk_account]",
        '{"account_number": "[uk_account]"}',
        "Pay into acct [uk_account], name Doe.",
        "The account number is [uk_account].",
        "Acc no. [uk_account] was closed in March",
    ],
    "uk_sort_code+uk_account": [
        "Sort code [uk_sort_code], account number [uk_account]",
        "sort code: [uk_sort_code]\naccount number: [uk_account]\nname: J Doe",
        "Bank transfer: sort code [uk_sort_code] / account [uk_account]",
    ],
    "uk_driving_licence": [
        "Driving licence number [uk_driving_licence]",
        "driver: Morgan, licence [uk_driving_licence], valid to 2031",
        '{"licence_no": "[uk_driving_licence]"}',
        "DVLA confirmed [uk_driving_licence] for the hire.",
        "Licences checked: [uk_driving_licence], [uk_driving_licence].",
    ],
    "passport": [
        "Passport number: [passport]",
        "passport no. [passport], issued in Belfast",
        '{"passport_number": "[passport]"}',
        "She travels on passport [passport].",
        "His passport, [passport], expires in June.",
        "Please bring the passport ([passport]) to the appointment.",
    ],
    "phone": [
        "Call me on [phone] after six.",
        "Tel: [phone]",
        "Mobile [phone], office [phone]",
        '{"phone": "[phone]"}',
        "Ring the surgery ([phone]) between 8 and 10.",
        "contact number is [phone]",
        "name;phone\nDoe;[phone]\n",
        "WhatsApp [phone] for the address.",
    ],
    "aws_secret_key": [
        "aws_access_key_id = {aws_access_key}\naws_secret_access_key = {aws_secret_key}\nregion = eu-west-2",
        'AWS_SECRET_ACCESS_KEY="{aws_secret_key}"',
        "export AWS_SECRET_ACCESS_KEY={aws_secret_key}",
        '{"AccessKeyId": "{aws_access_key}", "SecretAccessKey": "{aws_secret_key}"}',
    ],
}
HARD: dict[str, list[str]] = {
    "email": ["<a href='mailto:[email]'>write</a>", "[email]/[email]", '"Jane" <[email]>;', "user:[email],", "(cc.[email])"],
    "card": ["Card:[card]exp 11/28", "amex/visa [card]/[card]", "pan\t[card]\t", "ends soon—[card]—ok", "id_[card]_x"],
    "iban": ["iban=[iban];", "([iban])", "IBAN[iban]", "to\u00a0[iban]\u00a0now", "[iban]-[iban]"],
    "nhs_number": ["Mr Doe [nhs_number] ref 7", "mrn:[nhs_number]", "id [nhs_number] dob 1/1/70", "CHI [nhs_number]", "NHS/[nhs_number]/A"],
    "uk_nino": ["NINO:[uk_nino]/P60", "ref-[uk_nino]", "[uk_nino][uk_nino]", "nino\t[uk_nino]", "'[uk_nino]',"],
    "uk_postcode": ["moved to [uk_postcode]!", "LONDON/[uk_postcode]", "in [uk_postcode]-ish", "pc=[uk_postcode]&x", "([uk_postcode])"],
    "uk_sort_code": [
        "sc [uk_sort_code]",
        "Sort:[uk_sort_code]",
        "sortcode,acct\n[uk_sort_code],x",
        "the code to sort by: [uk_sort_code]",
        "S/C: [uk_sort_code]",
    ],
    "uk_account": [
        "acct#[uk_account]",
        "A/C:[uk_account]",
        "account,name\n[uk_account],Doe",
        "pay [uk_account] please",
        "account no: GB-[uk_account]",
    ],
    "uk_driving_licence": [
        "DL:[uk_driving_licence].",
        "dvla/[uk_driving_licence]",
        "'[uk_driving_licence]'",
        "lic_[uk_driving_licence]",
        "[uk_driving_licence],GB",
    ],
    "passport": [
        "PASSPORT:[passport]/GBR",
        "travel document [passport]",
        "passport,dob\n[passport],1970",
        "pp no [passport]",
        "Passports: [passport], [passport]",
    ],
    "phone": ["t:[phone]", "[phone] or [phone]", "fax/[phone]", "(m) [phone]", "no.[phone]"],
}
"""Texts that are written the way people do when nobody checks: what is missed here is missed."""
KEY_TEXTS = [
    "export API_KEY={KEY}",
    'client = Client(api_key="{KEY}")',
    '{"key": "{KEY}"}',
    "Authorization: Bearer {KEY}",
    "My key is {KEY}, please do not share it.",
    "token: {KEY}\nregion: uk",
    "curl -H 'x-api-key: {KEY}' https://api.example.com/v1/models",
    "KEY={KEY};MODE=live",
]
PLAIN = [
    "Version 2.14.3 replaces 2.13.9 and 1.0.0-rc.1; see docs/4.2/index.html.",
    "The meeting is on 12/05/2026 at 14:30, moved from 2026-05-11T09:15:00Z.",
    "Coordinates: 51.5074, -0.1278; 53.4808 N, 2.2426 W; elevation +124.50 m.",
    "IP 192.168.10.254, gateway 10.0.0.1, MAC 00:1A:2B:3C:4D:5E, port 8080.",
    "Use @property and @dataclass(frozen=True); call super().__init__(name='x@y').",
    "Install with npm install @scope/package@1.2.3 and pip install foo==4.5.6.",
    "git clone git@github.com:example/repo.git && cd repo",
    "The ratio rose from 0.0123456 to 0.9876543 over 1,234,567 samples.",
    "def f(x): return x ** 2 + 3 * x - 7  # 123 456 789",
    "Set OPENAI_API_KEY=sk-... or OPENAI_API_KEY=your-api-key-here in .env.",
    "Replace sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx with your own key.",
    "We used sk-learn and risk-management-of-model-portfolios-2026 in the study.",
    "Flight BA 0283 leaves gate B32 at 16 05; seat 12A, bag tag 0125 887.",
    "Section 4.3.2.1, pages 123-145, figure 12-3, table 7-11-2.",
    "£12,345.67 plus VAT at 20 % is £14,814.80; €99.00; $1,000,000.00.",
    "Match result 12-34-56 after extra time; lap 01-02-03.",
    "const id = 'a1b2c3d4e5f6'; let n = 0x1F4A9C; color: #ff8800;",
    "The NHS employs over 1,400,000 people; patient 17 of 2,048 waited 12 weeks.",
    "Your passport must be valid for 6 months; applications rose to 8,112,045 in 2023.",
    "The account grew by 12,345,678 users; the bank reported 20-25 % more transfers.",
    "Sort the codes by length: 12, 34, 56, then by value.",
    "Postcode lotteries are unfair. Room E16 is next to M25 junction 10.",
    "Driving lessons cost 32 pounds; the licence took 123 days.",
    "Press 1 for sales, 2 for support, or 0 to speak to someone; dial 999 in emergencies.",
    "See arXiv:2301.01234, doi:10.1000/182, RFC 2606 and ISO 13616-1:2020.",
    "AKIAIOSFODNN7EXAMPLE is the key in the documentation.",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "background: url(sprite@2x.png); src='logo@3x.webp'",
    "eyJ is how a JSON Web Token begins, as in eyJhbGci… and so on.",
    "Tweet by @jane_doe: see http://example.com/a?b=1&c=2#d for more.",
    "Unix times: 1700000000, 1719830400 and 1609459200; milliseconds 1700000000123.",
    "The passport office had 123456 cases; ticket 481516234 was the last one about a passport fee of 88.50.",
    "Account manager: extension 20481632; the account was reviewed 20260301.",
    "NHS trust invoice 4400012345, purchase order 4500678901, NHS supply chain code 1234567890.",
    "The bank opened 12-05-23 and moved 10-11-24; transfer window 20-01-26.",
    "Call 7 of 12: telephone interviews took 0123 456 minutes in all.",
    "Mail to user@localhost or root@server; see foo@bar in the logs.",
    "Part no. 0800-00-123-4567-X; drawing 020-7946-A; DIN 07700.",
    "card catalogue 4000 1234 5678 9010 5; library card 4929 0000 1111 2223.",
    "Scores 07/10, 08/10; room 0113; floor 02; block 020 west.",
]


def negative(dice: random.Random) -> list[str]:
    """Numbers and codes that look like something and are nothing."""
    hexes = hashlib.sha256(str(dice.random()).encode()).hexdigest()
    one = str(uuid.UUID(int=dice.getrandbits(128), version=4))
    isbn = "978" + digits(dice, 9)
    ean = sum(int(sign) * (3 if place % 2 else 1) for place, sign in enumerate(isbn))
    imei = "35" + digits(dice, 12)
    return [
        f"Order {digits(dice, 10)} shipped; tracking 1Z{digits(dice, 16)}.",
        f"order number {digits(dice, 8)}-{digits(dice, 3)}, invoice INV-{digits(dice, 9)}",
        f"ISBN {isbn}{-ean % 10}; older edition ISBN 0-{digits(dice, 3)}-{digits(dice, 5)}-{dice.choice('0123456789X')}",
        f"request {one} failed after {dice.randint(10, 9999)} ms",
        f"commit {hexes[:40]} by ci; tree {hexes[24:64]}; md5 {hexes[:32]}",
        f"sha256:{hexes}",
        f"Ref: CASE-0{digits(dice, 10)}; job id 0{digits(dice, 10)}x; build 0{digits(dice, 12)}",
        f"Phone model SM-{digits(dice, 4)}, IMEI {imei}{luhn_digit(imei)}, serial R{digits(dice, 9)}Z",
        f"VAT GB{digits(dice, 9)}, company number {digits(dice, 8)}, UTR {digits(dice, 10)}",
        f"part AB{digits(dice, 6)}, lot {digits(dice, 6)}-{digits(dice, 2)}, bin C{digits(dice, 2)}-{digits(dice, 4)}",
        f"timestamp={dice.randint(1_500_000_000, 1_800_000_000)}, duration={digits(dice, 5)}.{digits(dice, 6)}",
        f"lat={dice.uniform(49, 59):.7f}&lon={dice.uniform(-7, 2):.7f}&z={dice.randint(1, 19)}",
        f"v{dice.randint(1, 20)}.{dice.randint(0, 40)}.{dice.randint(0, 99)}+build.{digits(dice, 8)}",
        f"{dice.randint(1, 28):02d}-{dice.randint(1, 12):02d}-{dice.randint(20, 29)} to {dice.randint(2020, 2029)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}",
        f"matrix: {digits(dice, 3)} {digits(dice, 3)} {digits(dice, 3)} {digits(dice, 3)}; {digits(dice, 2)} {digits(dice, 2)} {digits(dice, 2)}",
        f"ticket #{digits(dice, 7)} / PR {digits(dice, 4)} / line {digits(dice, 5)} col {digits(dice, 2)}",
        f'<img src="data:image/png;base64,{hexes}{hexes[::-1]}==">',
        f"product code {dice.choice('ABCDEFGH')}{digits(dice, 9)}, GTIN {digits(dice, 8)}",
    ]


def filled(text: str, dice: random.Random) -> tuple[str, list[list[object]]]:
    """The text with values in its places, and where they stand."""
    out, done = "", 0
    labels: list[list[object]] = []
    for match in PLACE.finditer(text):
        if match[1] not in VALUES:
            continue
        out += text[done : match.start()]
        value = VALUES[match[1]](dice)
        labels.append([len(out), len(out) + len(value), match[1]])
        out += value
        done = match.end()
    return out + text[done:], labels


def lines() -> list[dict[str, object]]:
    """The whole corpus."""
    dice = random.Random(20261126)
    found: list[dict[str, object]] = []
    seed = 0
    for kind, texts in TEXTS.items():
        for turn in range(72 // len(texts) + 1):
            for text in texts:
                seed += 1
                for name in ("aws_access_key", "aws_secret_key"):
                    text = text.replace("{" + name + "}", "{{" + f"{name}:{seed}" + "}}")
                said, labels = filled(text, dice)
                found.append({"kind": kind, "text": said, "labels": labels})
                if turn > 3 and kind == "aws_secret_key":
                    break
    for kind, texts in HARD.items():
        for text in texts:
            said, labels = filled(text, dice)
            found.append({"kind": f"hard {kind}", "text": said, "labels": labels})
    for name in KEYS:
        if name != "aws_secret_key":
            for turn in range(24):
                text = KEY_TEXTS[turn % len(KEY_TEXTS)].replace("{KEY}", "{{" + f"{name}:{turn}" + "}}")
                found.append({"kind": name, "text": text, "labels": []})
    found += [{"kind": "plain", "text": text, "labels": []} for text in PLAIN]
    for _ in range(30):
        found += [{"kind": "numbers", "text": text, "labels": []} for text in negative(dice)]
    return found


if __name__ == "__main__":
    assert card(random.Random(1))
    Path(CORPUS).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines()), encoding="utf-8")
