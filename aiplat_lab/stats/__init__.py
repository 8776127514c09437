"""Statistics: intervals, paired and sequential tests, agreement, power; pure functions on NumPy.

A comparison starts with `compare_paired`, a gate with `gate_verdict`, a preference test with `vote_verdict`. Whatever is
wrongly given (no samples, NaN, sizes that do not fit) is refused with a `UsageError`.
"""

from aiplat_lab.stats.agreement import (
    cohen_kappa,
    fleiss_kappa,
    kappa_interval,
    kappa_table,
    krippendorff_alpha,
    krippendorff_interval,
)
from aiplat_lab.stats.compare import MARGIN, Comparison, GateOutcome, GateVerdict, Outcome, compare_paired, gate_verdict
from aiplat_lab.stats.correct import Calibration, calibration, ppi_mean, rogan_gladen, rogan_gladen_rate
from aiplat_lab.stats.intervals import Estimate, cluster_se, mean_interval, newcombe_difference, rate_interval, score_interval, wilson
from aiplat_lab.stats.multiplicity import benjamini_hochberg, holm
from aiplat_lab.stats.paired import McNemar, SignFlip, mcnemar, mcnemar_scores, sign_flip_test, tango_interval
from aiplat_lab.stats.power import (
    fewest_to_decide,
    mcnemar_power,
    paired_effect,
    paired_n,
    repeated_n,
    unpaired_effect,
    unpaired_n,
)
from aiplat_lab.stats.resample import bca_interval, bca_mean_interval
from aiplat_lab.stats.sequential import (
    ConfidenceSequence,
    beta_binomial_interval,
    betting_sequence,
    empirical_bernstein_sequence,
    hoeffding_sequence,
    log_evidence,
    votes_needed,
)
from aiplat_lab.stats.srm import SampleRatio, sample_ratio
from aiplat_lab.stats.votes import SMALLEST_LEAD, Verdict, VoteState, vote_verdict

__all__ = [
    "MARGIN",
    "SMALLEST_LEAD",
    "Calibration",
    "Comparison",
    "ConfidenceSequence",
    "Estimate",
    "GateOutcome",
    "GateVerdict",
    "McNemar",
    "Outcome",
    "SampleRatio",
    "SignFlip",
    "Verdict",
    "VoteState",
    "bca_interval",
    "bca_mean_interval",
    "benjamini_hochberg",
    "beta_binomial_interval",
    "betting_sequence",
    "calibration",
    "cluster_se",
    "cohen_kappa",
    "compare_paired",
    "empirical_bernstein_sequence",
    "fewest_to_decide",
    "fleiss_kappa",
    "gate_verdict",
    "hoeffding_sequence",
    "holm",
    "kappa_interval",
    "kappa_table",
    "krippendorff_alpha",
    "krippendorff_interval",
    "log_evidence",
    "mcnemar",
    "mcnemar_power",
    "mcnemar_scores",
    "mean_interval",
    "newcombe_difference",
    "paired_effect",
    "paired_n",
    "ppi_mean",
    "rate_interval",
    "repeated_n",
    "rogan_gladen",
    "rogan_gladen_rate",
    "sample_ratio",
    "score_interval",
    "sign_flip_test",
    "tango_interval",
    "unpaired_effect",
    "unpaired_n",
    "vote_verdict",
    "votes_needed",
    "wilson",
]
