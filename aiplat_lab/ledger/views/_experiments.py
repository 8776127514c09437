"""Views over A/B experiments and the votes in them."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

VIEWS: Mapping[str, View] = {
    "experiment_list": View(
        "A/B experiments, newest first: id, name, variants, number of inputs, who began it, and in which notebook.",
        "SELECT id, name, variants, inputs, blind, author, notebook, recorded_at FROM experiments_ "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY recorded_at DESC, id",
        source="experiments",
        rows_as="experiments_",
        time="recorded_at",
        columns={"experiment": "id", "name": "name"},
    ),
    "vote_list": View(
        "Votes of A/B experiments in the order they came; a vote that was sent twice counts once, and a later vote of the same rater on "
        "the same input takes the place of the earlier.",
        "SELECT * EXCLUDE (turn) FROM (SELECT *, row_number() OVER (PARTITION BY experiment, input_id, rater ORDER BY seq DESC) AS turn "
        "FROM votes_ QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1) WHERE turn = 1 ORDER BY seq",
        source="votes",
        rows_as="votes_",
        time="recorded_at",
        columns={"experiment": "experiment", "rater": "rater"},
    ),
    "vote_counts": View(
        "How the votes of each experiment fell: for each winner (a variant, `tie` or `none`) the votes, the raters and the last vote; "
        "votes count as in `vote_list`.",
        "SELECT experiment, winner, count(*) AS votes, count(DISTINCT rater) AS raters, max(recorded_at) AS last_at FROM (SELECT *, "
        "row_number() OVER (PARTITION BY experiment, input_id, rater ORDER BY seq DESC) AS turn FROM votes_ "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1) WHERE turn = 1 GROUP BY experiment, winner "
        "ORDER BY experiment, votes DESC, winner",
        source="votes",
        rows_as="votes_",
        time="recorded_at",
        columns={"experiment": "experiment", "rater": "rater"},
    ),
}
