"""How far several raters agree, in figures and in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import krippendorff_alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far raters agree on what several of them judged."""

    raters: int
    shared: int
    """What two raters or more judged."""
    same: float | None
    """The share of pairs of raters that say the same; None where nothing is shared."""
    alpha: float | None
    """Krippendorff's alpha, 1 for full agreement and 0 for chance; None where nothing is shared, or everybody says one and the same."""

    def sentence(self, what: str = "input") -> str:
        """In words; empty for one rater."""
        if self.raters < 2:
            return ""
        if not self.shared or self.same is None:
            return f"{self.raters} raters; no {what} was judged by two of them yet, so their agreement is not known."
        alpha = "" if self.alpha is None else f" (Krippendorff's alpha {self.alpha:.2f})"
        number = f"{self.shared} {what}{'' if self.shared == 1 else 's'}"
        return f"{self.raters} raters; on the {number} that several judged, they agree in {100 * self.same:.0f} % of pairs{alpha}."


def agree(given: Sequence[Mapping[str, Any]], *, of: str = "input_id", by: str = "rater", says: str = "winner") -> Agreement:
    """The agreement of judgements, each a row with what was judged, by whom, and what was said."""
    said: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in given:
        if row.get(says) is not None:
            said[str(row[of])][str(row[by])] = row[says]
    raters = sorted({rater for one in said.values() for rater in one})
    shared = [one for one in said.values() if len(one) > 1]
    pairs = [first == second for one in shared for first, second in combinations(one.values(), 2)]
    alpha = None
    if shared:
        try:
            alpha = krippendorff_alpha([[one.get(rater) for one in shared] for rater in raters if any(rater in one for one in shared)])
        except UsageError:
            alpha = None  # all say one and the same
    return Agreement(raters=len(raters), shared=len(shared), same=sum(pairs) / len(pairs) if pairs else None, alpha=alpha)
