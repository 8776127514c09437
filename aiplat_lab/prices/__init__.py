"""What a call costs, in US dollars: dated prices out of `genai-prices`, the user's own before them, exact in `Decimal`."""

from aiplat_lab.prices._book import Held, Prices, price_for
from aiplat_lab.prices._cost import COST_PLACES, UNIT_PLACES, cost, reprice, unpriced_units
from aiplat_lab.prices._frozen import differences, frozen
from aiplat_lab.prices._list import Rates, load
from aiplat_lab.prices._reported import Reported, reported

__all__ = [
    "COST_PLACES",
    "UNIT_PLACES",
    "Held",
    "Prices",
    "Rates",
    "Reported",
    "cost",
    "differences",
    "frozen",
    "load",
    "price_for",
    "reported",
    "reprice",
    "unpriced_units",
]
