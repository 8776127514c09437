"""Invented texts of the demo ledger: for each prompt a system text, questions and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Talk = tuple[str, str, str]
"""What the system said, what was asked, what was answered."""

_TRIAGE = "You sort insurance claims. Answer with a class (simple, complex, referral) and one sentence that says why."
_WORDING = "You compare a clause with the standard wording. List each difference and say whether it changes cover."
_HELP = "You answer customers of a home-energy supplier. Be brief, kind and exact. Never promise a refund."
_COPY = "You draft short texts for a garden-tools shop. British English, no exclamation marks."
_PRODUCT = "Write a product text of two sentences from the facts given. Add no fact."
_INVOICE = "Read the invoice text and give supplier, number, date, net, tax and gross as JSON."

TALKS: Mapping[str, Sequence[Talk]] = {
    "triage": (
        (_TRIAGE, "A washing machine hose split overnight. The kitchen floor is swollen; photos attached. Estimate £1,850.",
         "simple: one cause, one room, photos and an estimate below the desk limit."),
        (_TRIAGE, "Water came through the ceiling after a storm, and the tenant says it had dripped since spring.",
         "complex: the damage may have begun before the storm, so the cause needs a survey."),
        (_TRIAGE, "The claimant reports the same camera stolen as in a claim of last year.",
         "referral: the same item was claimed before; the special team should look at both claims."),
    ),
    "wording-check": (
        (_WORDING, "Clause: “We cover escape of water except where the property was empty for 45 days.” Standard: 30 days.",
         "One difference: 45 days in place of 30. It widens cover by 15 days of an empty property."),
        (_WORDING, "Clause: “Tools are covered up to £500 in a locked shed.” Standard: “… in a locked building”.",
         "One difference: “shed” for “building”. It narrows cover: a locked garage would not be a shed."),
    ),
    "help-answer": (
        (_HELP, "My meter shows 48213 but the bill says 47950. Which one is right?",
         "The bill was made from an estimate. Send us the reading 48213 in your account, and the next bill is put right."),
        (_HELP, "Can I move my direct debit to the 28th?",
         "Yes. Choose Payments, then Payment day, and pick the 28th. It takes effect from the next payment."),
        (_HELP, "The app says my tariff ends in June. What happens then?",
         "You move to the standard tariff unless you choose another one before. We write to you six weeks ahead with the prices."),
    ),
    "copy-draft": (
        (_COPY, "Three subject lines for the spring letter on secateurs.",
         "1. A clean cut for a new season\n2. Sharper than last year\n3. The pair that stays in your pocket"),
        (_COPY, "Two sentences for the banner on rain barrels.",
         "The best water for your tomatoes falls on the roof for nothing. Catch it in a barrel that fits where the downpipe is."),
    ),
    "product-text": (
        (_PRODUCT, "Hand fork, ash handle, stainless head, 31 cm, made in Yorkshire.",
         "A hand fork of 31 cm with a stainless head on an ash handle. It is made in Yorkshire."),
        (_PRODUCT, "Kneeling mat, cork, 45 × 25 cm, wipes clean.",
         "A kneeling mat of cork, 45 by 25 cm. It wipes clean."),
    ),
    "invoice-fields": (
        (_INVOICE, "Northfield Paper Ltd  Invoice 20418  3 Nov  Net 412.00  VAT 82.40  Total 494.40",
         '{"supplier": "Northfield Paper Ltd", "number": "20418", "date": "3 Nov", "net": 412.00, "tax": 82.40, "gross": 494.40}'),
        (_INVOICE, "Harbour Couriers, inv. HC-7731, 12/10, 8 parcels, 96.00 + 19.20 VAT = 115.20",
         '{"supplier": "Harbour Couriers", "number": "HC-7731", "date": "12/10", "net": 96.00, "tax": 19.20, "gross": 115.20}'),
    ),
    "": (
        ("", "Summarise in two sentences what the paper says about drift in sensor networks.",
         "Cheap sensors drift with heat and age, so a network's map bends slowly. The paper corrects each sensor by its neighbours "
         "and keeps one reference station for every twenty."),
        ("", "Give me five words near in meaning to “steady”.", "even, firm, regular, stable, unhurried"),
        ("", "Why is the sum of rounded shares not always 100?",
         "Each share is rounded by itself, and the small errors need not cancel. Round the sum's parts by the largest remainder."),
    ),
}  # fmt: skip
