"""Evidence on use: what runs, who may run it, which models answered and where, what was tested and how it was changed."""

from __future__ import annotations

from aiplat_lab.reports._finding import Finding, counted
from aiplat_lab.reports._report import Report


def inventory(report: Report) -> Finding:
    """What is in use, and how much of it names neither team nor prompt."""
    facts, uses = report.view("use_facts"), report.view("uses")
    row, cited = facts.row, f"{facts.query} {uses.query}"
    if not row["calls"]:
        return Finding("missing", "no use was seen in the period", cited)
    said = f"{counted(len(uses.rows), 'use')} seen (team, project, prompt, model)"
    return Finding("part", f"{said}; {row['without_team']:,} calls name no team and {row['without_prompt']:,} no prompt", cited)


def scale_of_use(report: Report) -> Finding:
    """The facts on scale that an assessment of impact needs; the assessment itself is a person's."""
    facts = report.view("use_facts")
    row = facts.row
    if not row["calls"]:
        return Finding("missing", "no use was seen in the period, and no assessment is on record", facts.query)
    said = f"facts on scale: {row['calls']:,} calls, {counted(row['users'], 'user')}, {counted(row['teams'], 'team')}"
    return Finding("part", f"{said}; the assessment itself is not evidenced", facts.query)


def evalset_lineage(report: Report) -> Finding:
    """Whether what was tested with is known by its content."""
    runs = report.view("eval_run_list", whole=True)
    if not runs:
        return Finding("missing", "no evaluation is on record, so no test data", runs.query)
    sets = {(row["evalset"], row["evalset_hash"]) for row in runs.rows}
    return Finding(
        "part", f"{counted(len(sets), 'version')} of evalsets, each by its content hash; drift of live input is not evidenced", runs.query
    )


def evaluations(report: Report) -> Finding:
    """Whether there are complete evaluation runs in the period."""
    runs = report.view("eval_run_list")
    whole = [row for row in runs.rows if row["status"] == "complete"]
    if not whole:
        left = f" ({counted(len(runs.rows), 'run')} not complete)" if runs else ""
        return Finding("missing", f"no complete evaluation in the period{left}", runs.query)
    sets = {row["evalset"] for row in whole}
    return Finding("supports", f"{counted(len(whole), 'complete evaluation')} on {counted(len(sets), 'evalset')}", runs.query)


def gates(report: Report) -> Finding:
    """What the regression gates said in the period."""
    found = report.view("eval_gate_list")
    if not found:
        return Finding("missing", "no regression gate was asked in the period", found.query)
    bad = [row for row in found.rows if row["verdict"] == "regression"]
    open_ = [row for row in found.rows if row["verdict"] == "inconclusive"]
    said = f"{counted(len(found.rows), 'gate')} asked, {counted(len(bad), 'regression')}, {len(open_)} inconclusive"
    return Finding("part" if bad or open_ else "supports", said, found.query)


def prompt_versions(report: Report) -> Finding:
    """Whether the prompts in use stand in the registry."""
    saved, spend = report.view("prompt_catalogue", whole=True), report.view("spend_by_prompt_version")
    cited = f"{saved.query} {spend.query}"
    if not saved:
        return Finding("missing", "no prompt is in the registry", cited)
    known = {(row["name"], row["version"]) for row in saved.rows}
    used = [row for row in spend.rows if row["prompt_name"]]
    unknown = [row for row in used if (row["prompt_name"], row["prompt_version"]) not in known]
    said = f"{counted(len(saved.rows), 'saved version')} of prompts"
    if unknown:
        return Finding("part", f"{said}; {len(unknown)} versions in use are not in the registry", cited)
    return Finding("supports", f"{said}, every named version in use is one of them", cited)


def promotions(report: Report) -> Finding:
    """Whether moves of labels have a reason, an evaluation, and another person than the author."""
    moves, saved = report.view("prompt_label_history"), report.view("prompt_catalogue", whole=True)
    cited = f"{moves.query} {saved.query}"
    if not moves:
        return Finding("missing", "no label of a prompt was moved in the period", cited)
    authors = {(row["name"], row["version"]): row["author"] for row in saved.rows}
    own = [row for row in moves.rows if row["moved_by"] and row["moved_by"] == authors.get((row["name"], row["version"]))]
    silent = [row for row in moves.rows if not row["reason"]]
    said = f"{counted(len(moves.rows), 'promotion')}, {len(own)} by the author of the version, {len(silent)} without a reason"
    return Finding("part" if own or silent else "supports", said, cited)


def keys(report: Report) -> Finding:
    """Whether calls come with keys that have owners, and refusals are seen."""
    live, used = report.view("live_keys"), report.view("key_use")
    cited = f"{live.query} {used.query}"
    if not live:
        return Finding("missing", "no virtual key was ever made", cited)
    now = report.now.isoformat()
    open_ = [row for row in live.rows if not row["revoked_at"] and (not row["expires_at"] or row["expires_at"] > now)]
    nobody = [row for row in open_ if not (row["team"] or row["user_id"])]
    endless = [row for row in open_ if not row["expires_at"]]
    refused = sum(row["refused"] for row in used.rows)
    said = f"{counted(len(open_), 'live key')}, {len(nobody)} without an owner, {len(endless)} without an end; {refused:,} calls refused"
    return Finding("part" if nobody or endless else "supports", said, cited)


def models_seen(report: Report) -> Finding:
    """Whether the model that answered is known by the provider's own name."""
    seen = report.view("models_seen")
    if not seen:
        return Finding("missing", "no provider answered in the period", seen.query)
    named = {(row["provider"], row["response_model"]) for row in seen.rows if row["response_model"]}
    unnamed = sum(row["calls"] - row["errors"] for row in seen.rows if not row["response_model"])
    said = f"{counted(len(named), 'model')} answered, by the provider's own name"
    if unnamed > 0:
        return Finding("part", f"{said}; {unnamed:,} calls without one", seen.query)
    return Finding("supports", said, seen.query)


def limits_of_use(report: Report) -> Finding:
    """Whether teams have limits of models or regions, and what was stopped at them."""
    rows = [{"team": name, "models": list(team.models), "residency": list(team.residency)} for name, team in report.settings.teams.items()]
    refused = report.view("errors_by_type", status="refused")
    cited = f"{report.from_settings('teams', rows)} {refused.query}"
    limited = [row for row in rows if row["models"] or row["residency"]]
    if not limited:
        return Finding("missing", "no team has limits of models or regions", cited)
    count = sum(row["calls"] for row in refused.rows)
    said = f"{len(limited)} of {counted(len(rows), 'team')} have limits of models or regions; {counted(count, 'call')} refused by a rule"
    return Finding("supports" if len(limited) == len(rows) else "part", said, cited)


def residency(report: Report) -> Finding:
    """Where calls were computed, as configured, and whether it was where the team may."""
    seen = report.view("models_seen")
    rows = [{"team": name, "residency": list(team.residency)} for name, team in report.settings.teams.items() if team.residency]
    cited = f"{seen.query} {report.from_settings('teams.residency', rows)}"
    if not seen:
        return Finding("missing", "no call was computed anywhere in the period", cited)
    regions = sorted({row["region"] for row in seen.rows if row["region"]})
    unknown = sum(row["calls"] for row in seen.rows if not row["region"])
    outside = []
    for row in rows:
        wanted = set(row["residency"])
        found = report.view("models_seen", team=row["team"])
        cited += f" {found.query}"
        outside += [row["team"] for one in found.rows if one["region"] not in wanted]
    if outside:
        return Finding("against", f"calls of the team {outside[0]} were computed outside of its regions", cited)
    said = f"regions as configured: {', '.join(regions) or 'none'}; {unknown:,} calls with an unknown region"
    if not rows:
        return Finding("part", f"{said}; no team has a residency set", cited)
    return Finding("part" if unknown else "supports", f"{said}; {counted(len(rows), 'team')} with a residency, none outside of it", cited)


def scheduled_checks(report: Report) -> Finding:
    """Whether reports run on a schedule and come out well."""
    runs = report.view("schedule_run_list")
    if not runs:
        return Finding("missing", "no scheduled report ran in the period", runs.query)
    ok = sum(row["status"] == "ok" for row in runs.rows)
    said = f"{ok} of {counted(len(runs.rows), 'scheduled run')} ended well"
    return Finding("supports" if ok == len(runs.rows) else "part", said, runs.query)


def human_review(report: Report) -> Finding:
    """What people said on answers: votes of experiments are all that is on record."""
    votes = report.view("vote_list")
    if not votes:
        return Finding("missing", "no review of an answer by a person is on record", votes.query)
    raters = {row["rater"] for row in votes.rows}
    said = f"{counted(len(votes.rows), 'vote')} by {counted(len(raters), 'rater')} in experiments; oversight in operation is not evidenced"
    return Finding("part", said, votes.query)


def serious_incidents(report: Report) -> Finding:
    """Incidents are not recorded in this version; the log's own are another matter."""
    own = report.view("log_incidents")
    return Finding("missing", f"no register of incidents; the log noted {counted(len(own.rows), 'incident')} of its own", own.query)


def _nothing(said: str) -> Finding:
    return Finding("missing", said)


def risk_register(report: Report) -> Finding:
    """A risk register is a person's record."""
    return _nothing("no risk register is kept with the log")


def red_team(report: Report) -> Finding:
    """No red-team result is recorded in this version."""
    return _nothing("no red-team result is on record")


def drift(report: Report) -> Finding:
    """No drift is measured in this version."""
    return _nothing("drift of live input and output is not measured")


def disclosure(report: Report) -> Finding:
    """Disclosure happens outside of what the log sees."""
    return _nothing("disclosure and marking are not on record")


def accountability(report: Report) -> Finding:
    """Named managers are a person's record."""
    return _nothing("no named senior manager is on record")


def kill_switch(report: Report) -> Finding:
    """No drill is recorded in this version."""
    return _nothing("no drill is on record")
