"""`aiplat cost | prices | audit prices | export --format focus`, as a person uses them."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest
from clikit import Line

SETTINGS = """
[providers.openai]
kind = "openai"
[providers.vllm]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
[models.fast]
deployments = [{ provider = "openai", model = "gpt-5-mini" }, { provider = "vllm", model = "ours" }]
[models.long]
deployments = [{ provider = "openai", model = "gpt-6.1-terra", service_tier = "flex" }]
[[prices]]
provider = "openai"
model = "gpt-5*"
since = "2026-01-01"
discount = 0.2
"""


@pytest.fixture
def priced(line: Line) -> Line:
    line.home.mkdir(parents=True, exist_ok=True)
    (line.home / "aiplat.toml").write_text(SETTINGS)
    return line


def test_prices_list_shows_unknown_ones_first(priced: Line) -> None:
    rows = priced("prices", "list", "--json", "--home", str(priced.home)).rows
    assert (rows[0]["deployment"], rows[0]["source"], rows[0]["input_usd_per_mtok"]) == ("vllm/ours", "unknown", None)
    (fast,) = [row for row in rows if row["deployment"] == "openai/gpt-5-mini"]
    assert Decimal(fast["input_usd_per_mtok"]) == Decimal("0.2")
    assert (fast["source"], fast["since"]) == ("aiplat.toml, prices[0]", "2026-01-01")
    assert "unknown" in priced("prices", "list", "--home", str(priced.home)).out.splitlines()[2]


def test_prices_show_has_every_price_of_a_model(priced: Line) -> None:
    rows = {row["price"]: row for row in priced("prices", "show", "long", "--json", "--home", str(priced.home)).rows}
    assert (rows["input"]["usd"], rows["input, beyond 272,000 input tokens"]["usd"]) == ("0.5", "1")
    assert rows["web_searches"] | {"usd": "0.01", "per": "one"} == rows["web_searches"]
    assert "batch" in rows["other tiers"]["per"]
    assert priced("prices", "show", "vllm/ours", "--json", "--home", str(priced.home)).rows[0]["price"] == "unknown"
    priced("prices", "show", "fats", "--home", str(priced.home)).complains(2, "there is no model 'fats'", "Did you mean fast")


def test_prices_check_tells_what_changed(priced: Line) -> None:
    home = ("--home", str(priced.home))
    assert priced("prices", "check", *home).code == 0
    assert priced("prices", "check", "--json", *home).rows == []
    (priced.home / "aiplat.toml").write_text(SETTINGS.replace("discount = 0.2", "discount = 0.1"))
    said = priced("prices", "check", "--json", *home)
    assert said.code == 1
    changed = {row["price"]: (row["before"], row["now"]) for row in said.rows if row["deployment"] == "openai/gpt-5-mini"}
    assert changed["input_usd_per_mtok"] == ("0.2", "0.225")
    assert priced("prices", "check", "--accept", *home).code == 0
    assert priced("prices", "check", *home).code == 0
    (priced.home / "prices.json").write_text("{}")
    priced("prices", "check", *home).complains(2, "prices.json", "--accept")


def test_a_wrong_price_book_is_one_line(priced: Line) -> None:
    (priced.home / "aiplat.toml").write_text(SETTINGS.replace("discount = 0.2", "discount = 20"))
    for words in (("prices", "list"), ("prices", "check"), ("prices", "show", "fast")):
        priced(*words, "--home", str(priced.home)).complains(1, "prices[0] (model 'gpt-5*').discount is 20")


def test_cost_by_team_adds_up_and_says_what_is_unknown(used: Line) -> None:
    rows = used("cost", "--json").rows
    assert {row["name"]: row["calls"] for row in rows} == {"risk": 2, "pricing": 1}
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal("0.0002625")
    said = used("cost")
    assert "100.0 %" in said.out and "1 answered calls are not in it" in said.err
    by_project = used("cost", "--by", "project").out
    assert "(not allocated)" in by_project and "study" in by_project
    assert used("cost", "--by", "tag").code == 0
    assert used("cost", "--savings", "--json").rows == []
    used("cost", "--tag", "x").complains(2, "--by tag")
    used("cost", "--by", "planet").complains(2, "there is no 'planet'")


def test_every_row_is_priced_again(used: Line) -> None:
    (row,) = used("audit", "prices", "--json").rows
    assert (row["calls"], row["repriced"], row["differ"], row["unpriced_calls"]) == (3, 1, 0, 1)
    assert "all to the last digit" in used("audit", "prices").err


@pytest.mark.parametrize("name", ["focus.csv", "focus.parquet"])
def test_export_in_focus_columns(used: Line, tmp_path: Path, name: str) -> None:
    said = used("export", str(tmp_path / name), "--format", "focus", "--json")
    assert (said.rows[0]["rows"], said.rows[0]["unpriced_calls"]) == (2, 1)
    assert "nobody knows what they cost" in said.err
    if name.endswith("csv"):
        rows = list(csv.DictReader((tmp_path / name).open()))
        assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal("0.0002625")
        assert {row["SubAccountId"] for row in rows} == {"risk"}
        assert json.loads(rows[0]["Tags"]) == {}
        assert rows[0]["ChargePeriodStart"].endswith("Z")
    used("export", str(tmp_path / name), "--format", "focus").complains(1, "there already")
    used("export", str(tmp_path / "x.xlsx"), "--format", "focus").complains(1, ".csv or .parquet")
