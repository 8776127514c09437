"""How often the semantic cache would answer rightly and wrongly, on pairs of questions whose meaning is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiplat_lab.client import Client
from aiplat_lab.core.errors import EvalError
from aiplat_lab.evals import Sample, load
from aiplat_lab.policies import disagreement, likeness, marks
from aiplat_lab.stats import wilson

PAIRS = "question-pairs"
THRESHOLDS = (0.80, 0.85, 0.90, 0.95, 0.97)
_BATCH = 32


def cache_report(
    client: Client, *, evalset: str = PAIRS, model: str = "minilm", thresholds: Sequence[float] = THRESHOLDS, by_change: bool = False
) -> list[dict[str, Any]]:  # Any: JSON
    """For each threshold, with the guards and without them: the share of pairs of one meaning that would share an answer, and the share
    of pairs of different meaning that would too, each with its 95 % interval by Wilson's method.

    Args:
        client: whom to ask for embeddings.
        evalset: pairs of questions, `first` and `second`, with the target `same` or `different`.
        model: the model that embeds them.
        thresholds: the least cosine similarities to look at.
        by_change: one row for each kind of change in place of all pairs together.

    Raises:
        EvalError: a sample is not a pair.
        AiplatError: the questions cannot be embedded.
    """
    samples = list(load(evalset).samples)
    for sample in samples:
        if sample.target not in ("same", "different") or not {"first", "second"} <= sample.input.keys():
            raise EvalError(f"the sample {sample.id} of {evalset} is no pair: it needs first, second, and the target same or different")
    similar = _similarities(client, samples, model)
    refused = [disagreement(marks(str(one.input["first"])), marks(str(one.input["second"]))) for one in samples]
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(str(sample.slices.get("change", "")) if by_change else "", []).append(index)
    rows = []
    for group, members in groups.items():
        for threshold in thresholds:
            for guards in (False, True):
                hits = {index for index in members if similar[index] >= threshold and not (guards and refused[index])}
                same = [index for index in members if samples[index].target == "same"]
                different = [index for index in members if samples[index].target == "different"]
                rows.append(
                    {
                        **({"change": group} if by_change else {}),
                        "threshold": threshold,
                        "guards": guards,
                        **_rate("hit", hits, same),
                        **_rate("false_hit", hits, different),
                        "false_pairs": [samples[index].id for index in different if index in hits],
                    }
                )
    return rows


def _rate(name: str, hits: set[int], members: list[int]) -> dict[str, Any]:  # Any: JSON
    count = len(hits.intersection(members))
    found: dict[str, Any] = {f"{name}s": count, f"{name}_of": len(members), f"{name}_rate": None, f"{name}_low": None, f"{name}_high": None}
    if members:
        rate = wilson(count, len(members))
        found |= {f"{name}_rate": rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
    return found


def _similarities(client: Client, samples: Sequence[Sample], model: str) -> list[float]:
    texts = list(dict.fromkeys(str(sample.input[name]) for sample in samples for name in ("first", "second")))
    vectors: dict[str, Sequence[float]] = {}
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        vectors.update(zip(batch, client.embed(batch, model=model, cache="on").embeddings, strict=True))
    return [likeness(vectors[str(one.input["first"])], vectors[str(one.input["second"])]) for one in samples]
