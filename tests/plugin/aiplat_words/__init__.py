"""Two scorers of one's own: one that passes or fails, one that measures."""

from aiplat_lab.core.registry import register
from aiplat_lab.evals import Answer, Sample, Score, measure


@register("scorer", "at_most_words")
def at_most_words(answer: Answer, sample: Sample, *, limit: int = 50) -> Score:
    """Whether the answer has at most `limit` words."""
    count = len(answer.split())
    return Score(float(count <= limit), note=f"{count} words")


@register("scorer", "words")
@measure
def words(answer: Answer, sample: Sample) -> float:
    """How many words the answer has."""
    return float(len(answer.split()))
