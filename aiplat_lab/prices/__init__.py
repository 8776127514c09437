"""What a call costs, in US dollars: dated prices out of `genai-prices`, the user's own before them, exact in `Decimal`."""

from aiplat_lab.prices._book import Prices, load, price_for
from aiplat_lab.prices._cost import COST_PLACES, cost
from aiplat_lab.prices._reported import Reported, reported

__all__ = ["COST_PLACES", "Prices", "Reported", "cost", "load", "price_for", "reported"]
