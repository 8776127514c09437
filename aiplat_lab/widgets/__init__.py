"""Controls that live in a notebook: the A/B comparison, and the review of answers.

ipywidgets and anywidget are not loaded before a person watches.
"""

from __future__ import annotations

from aiplat_lab.widgets._begin import ab
from aiplat_lab.widgets._experiment import Experiment
from aiplat_lab.widgets._review import Review
from aiplat_lab.widgets._review_begin import review
from aiplat_lab.widgets._variants import Variant

__all__ = ["Experiment", "Review", "Variant", "ab", "review"]
