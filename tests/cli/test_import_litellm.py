"""`aiplat import`: a LiteLLM configuration as our settings, and its spend logs as calls."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aiplat_lab import cli
from aiplat_lab.client import connect
from aiplat_lab.core.errors import ConfigError, UsageError
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.observe import convert_litellm
from aiplat_lab.observe._litellm_spend import BadRow, call_of

CONFIG = """\
model_list:
  - model_name: fast
    litellm_params:
      model: azure/my-gpt
      api_base: https://uk.openai.azure.com
      api_key: os.environ/AZURE_UK
      api_version: "2026-01-01"
      rpm: 60
      tpm: 90000
      weight: 3
      input_cost_per_token: 0.00000015
    model_info:
      output_cost_per_token: 6e-7
      max_output_tokens: 4096
      supports_vision: false
      base_model: azure/gpt-4o
  - model_name: fast
    litellm_params: {model: openai/gpt-5-mini, api_key: os.environ/OPENAI_API_KEY, weight: 1, max_parallel_requests: 5}
  - model_name: careful
    litellm_params:
      model: anthropic/claude-opus
      api_key: sk-ant-canary-0123456789abcdefghij
      extra_body: {x: 1}
  - model_name: bed
    litellm_params:
      model: bedrock/anthropic.claude-v2
      aws_region_name: eu-west-2
      aws_secret_access_key: canary-secret-in-clear
  - model_name: g
    litellm_params: {model: vertex_ai/gemini-pro, vertex_project: p1, vertex_location: europe-west2}
  - model_name: m
    litellm_params: {model: mistral/mistral-large-latest, region_name: eu, timeout: 30}
  - model_name: home
    litellm_params: {model: ollama/llama3, api_base: "http://127.0.0.1:11434"}
  - model_name: odd
    litellm_params: {model: replicate/x}
  - model_name: "*"
    litellm_params: {model: "openai/*"}
  - just a text
litellm_settings:
  drop_params: true
  num_retries: 3
  request_timeout: 600
  fallbacks: [{fast: [careful, missing]}]
  max_budget: 100.50
  budget_duration: 30d
  cache: true
  cache_params: {type: redis, ttl: 600, host: os.environ/REDIS}
  default_team_settings: [{team_id: "risk team", success_callback: [langfuse], max_budget: 5, budget_duration: 1d}]
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: {quick: fast}
  provider_budget_config: {mistral: {budget_limit: 7, time_period: 1d}, azure: {budget_limit: 1, time_period: 90s}}
general_settings:
  master_key: sk-master-canary-0123456789
environment_variables:
  SECRET: canary-variable
"""


def test_a_configuration_as_settings():
    made = convert_litellm(CONFIG.encode())
    settings = parse(made.toml)
    fast = settings.models["fast"]
    assert [(one.provider, one.model, one.weight) for one in fast.deployments] == [
        ("azure", "my-gpt", 3.0),
        ("openai", "gpt-5-mini", 1.0),
        ("anthropic", "claude-opus", 1e-9),
    ]
    assert fast.strategy == "weighted" and settings.models["quick"].deployments[0].model == "my-gpt"
    uk = fast.deployments[0]
    assert (uk.rpm, uk.tpm, uk.max_output_tokens, uk.lacks) == (60, 90000, 4096, ("images",))
    assert (uk.input_usd_per_mtok, uk.output_usd_per_mtok) == (Decimal("0.15"), Decimal("0.6")), "to the last digit"
    assert fast.deployments[1].parallel == 5
    azure = settings.providers["azure"]
    assert (azure.kind, azure.base_url, azure.api_key, azure.api_version, azure.retries, azure.timeout_s) == (
        "azure",
        "https://uk.openai.azure.com",
        "env:AZURE_UK",
        "2026-01-01",
        3,
        600.0,
    )
    assert settings.providers["anthropic"].api_key == "env:ANTHROPIC_API_KEY"
    assert (settings.providers["bedrock"].location, settings.providers["vertex_ai"].kind) == ("eu-west-2", "vertex")
    assert (settings.providers["vertex_ai"].project, settings.providers["vertex_ai"].location) == ("p1", "europe-west2")
    assert (settings.providers["mistral"].timeout_s, settings.models["m"].deployments[0].region) == (30.0, "eu")
    assert settings.providers["ollama"].api_key == "" and settings.cache.ttl_s == 600
    assert "risk team" in settings.teams
    budgets = {(one.scope, one.period): one.limit_usd for one in settings.budgets}
    assert budgets == {
        (("everyone", ""), "month"): Decimal("100.50"),
        (("provider", "mistral"), "day"): Decimal(7),
        (("team", "risk team"), "day"): Decimal(5),
    }


def test_what_does_not_carry_over_is_listed_by_line_and_no_secret_is_copied():
    made = convert_litellm(CONFIG.encode())
    lines = CONFIG.splitlines()
    listed = {one.setting: one for one in made.left_out}
    for setting in (
        "model_list.0.model_info.base_model",
        "model_list.2.litellm_params.api_key",
        "model_list.2.litellm_params.extra_body",
        "model_list.3.litellm_params.aws_secret_access_key",
        "model_list.7.litellm_params.model",
        "model_list.8.model_name",
        "model_list.9",
        "litellm_settings.drop_params",
        "litellm_settings.fallbacks.0",
        "litellm_settings.cache_params.type",
        "litellm_settings.cache_params.host",
        "litellm_settings.default_team_settings.0.success_callback",
        "router_settings.provider_budget_config.azure",
        "general_settings.master_key",
        "environment_variables",
    ):
        one = listed[setting]
        last = setting.rpartition(".")[2]
        assert one.why and (last.isdigit() or last in lines[one.line - 1]), (setting, one.line, lines[one.line - 1])
    assert "aiplat keys adopt ANTHROPIC_API_KEY" in listed["model_list.2.litellm_params.api_key"].why
    told = made.toml + json.dumps([one.to_json() for one in made.left_out])
    for secret in ("canary", "sk-ant", "sk-master"):
        assert secret not in told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a\n- b\n", "holds no mapping"),
        ("a: [1, 2\n", "is no YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "of a kind that is not read"),
        ("a: &x [1]\nb: {<<: 5}\n", ""),
        ("\x00", "is no YAML"),
        ("a: " + "[" * 10_000, "is no YAML"),
        ("a: " + "[" * 200 + "]" * 200, "stand for more"),
    ],
)
def test_a_text_that_is_no_configuration(text: str, why: str):
    if not why:
        assert parse(convert_litellm(text.encode()).toml)
        return
    if "python/object" in text:
        found = convert_litellm(text.encode())
        assert "system" not in found.toml, "a tag runs nothing: it is a setting without a counterpart"
        return
    with pytest.raises(UsageError, match=why):
        convert_litellm(text.encode())


def test_yaml_that_grows_without_end_and_files_too_large():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    with pytest.raises(UsageError, match="stand for more"):
        convert_litellm(bomb.encode())
    with pytest.raises(UsageError, match=r"at most 2,000,000"):
        convert_litellm(b"a: " + b"x" * 2_000_001)
    with pytest.raises(UsageError, match="not a text in UTF-8"):
        convert_litellm(b"a: \xff\xfe")
    with pytest.raises(UsageError, match="stand for more"):
        convert_litellm(b"a: &a [*a]\n")


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["openai/x", "os.environ/A", "fast", "1d"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known = st.sampled_from(
    ["model", "api_key", "api_base", "rpm", "weight", "timeout", "input_cost_per_token", "region_name", "organization", "max_retries"]
)


@hypothesis_settings(max_examples=150, deadline=None, derandomize=True)
@given(
    params=st.dictionaries(known, odd, max_size=6),
    name=odd,
    litellm=st.dictionaries(st.sampled_from(["fallbacks", "max_budget", "budget_duration", "cache", "cache_params", "num_retries"]), odd),
    router=st.dictionaries(st.sampled_from(["routing_strategy", "model_group_alias", "provider_budget_config", "timeout"]), odd),
)
def test_whatever_it_holds_the_settings_parse(params: Any, name: Any, litellm: Any, router: Any):
    entry = {"model_name": name, "litellm_params": {"model": "openai/gpt", **params}, "model_info": params}
    config = {"model_list": [entry, entry, params], "litellm_settings": litellm, "router_settings": router}
    made = convert_litellm(json.dumps(config, ensure_ascii=True).encode())
    parse(made.toml)


def run(*words: str) -> int:
    return cli.main(["import", *words])


def test_the_command_writes_settings_once(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    assert run("litellm-config", str(file)) == 0
    said = capsys.readouterr()
    line = CONFIG.splitlines().index("      api_key: sk-ant-canary-0123456789abcdefghij") + 1
    assert tomllib.loads(said.out)["models"]["fast"] and f"{file}:{line}: model_list.2.litellm_params.api_key: " in said.err
    assert not home.settings_file.exists()
    assert run("litellm-config", str(file), "--write") == 0
    assert "fast" in home.load().models
    before = home.settings_file.read_text()
    assert run("litellm-config", str(file), "--write") == 2 and "do not go together" in capsys.readouterr().err
    assert home.settings_file.read_text() == before
    assert run("litellm-config", str(file), "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["models"] == 7 and {"line", "setting", "why"} == set(row["left_out"][0])
    assert run("litellm-config", str(tmp_path / "missing.yaml")) == 2


# --- spend ------------------------------------------------------------------------------------------------------------

ROW = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": "0123456789abcdef0123456789abcdef",
    "spend": "0.000123456789",
    "prompt_tokens": "100",
    "completion_tokens": "20",
    "startTime": "2025-06-01 10:00:00.5",
    "endTime": "2025-06-01T10:00:02.500000Z",
    "completionStartTime": "2025-06-01 10:00:01",
    "model": "gpt-4o-2024",
    "model_group": "fast",
    "custom_llm_provider": "openai",
    "user": "ada",
    "end_user": "customer-1",
    "team_id": "t1",
    "cache_hit": "False",
    "request_tags": '["env:prod", "plain"]',
    "status": "success",
    "requester_ip_address": "192.0.2.1",
    "messages": '{"secret": "text"}',
    "metadata": json.dumps(
        {
            "user_api_key_team_alias": "risk",
            "user_api_key_alias": "notebooks",
            "usage_object": {"prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5}},
        }
    ),
}


def test_a_row_as_a_call():
    made = call_of(ROW)
    assert made == {
        "call_id": made["call_id"],
        "started_at": "2025-06-01T10:00:00.500000Z",
        "ended_at": "2025-06-01T10:00:02.500000Z",
        "operation": "chat",
        "team": "risk",
        "user_id": "ada",
        "key_id": "notebooks",
        "request_model": "fast",
        "response_model": "gpt-4o-2024",
        "provider": "openai",
        "status": "ok",
        "cost_usd": "0.000123456789",
        "price_version": "reported by litellm",
        "latency_s": 2.0,
        "time_to_first_token_s": 0.5,
        "cache": "off",
        "input_tokens": 60,
        "cache_read_tokens": 40,
        "cache_write_tokens": 0,
        "output_tokens": 15,
        "reasoning_tokens": 5,
        "tags": {"litellm_request_id": "chatcmpl-1", "env": "prod", "tag_2": "plain", "end_user": "customer-1"},
    }
    assert call_of(ROW)["call_id"] == made["call_id"] != call_of({**ROW, "request_id": "chatcmpl-2"})["call_id"]
    failed = call_of(
        {**ROW, "status": "failure", "metadata": '{"error_information": {"error_class": "Timeout"}}', "call_type": "aembedding"}
    )
    assert (failed["status"], failed["error_type"], failed["operation"]) == ("error", "Timeout", "embed")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"request_id": ""}, "no request_id"),
        ({"startTime": ""}, "no startTime"),
        ({"startTime": "soon"}, "which is no time"),
        ({"spend": "NaN"}, "which no call costs"),
        ({"spend": "-1"}, "which no call costs"),
        ({"spend": "much"}, "which is no sum"),
        ({"spend": None}, "which is no sum"),
        ({"prompt_tokens": "1.5"}, "no number of tokens"),
        ({"prompt_tokens": "-3"}, "no number of tokens"),
        ({"completion_tokens": "1e30"}, "no number of tokens"),
    ],
)
def test_a_row_that_is_no_call(more: dict[str, Any], why: str):
    with pytest.raises(BadRow, match=why):
        call_of({**ROW, **more})


def as_csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_an_export_is_recorded_once(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{**ROW, "request_id": f"r{number}", "spend": "0.001"} for number in range(2500)]
    rows[7]["spend"] = "much"
    rows[9]["startTime"] = "2999-01-01"
    file = tmp_path / "spend.csv"
    file.write_text(as_csv(rows))
    assert run("litellm-spend", str(file)) == 0
    said = capsys.readouterr().err
    assert "2,500 rows: 2,498 calls added ($2.498), 0 there already, 2 bad" in said
    assert f"{file}: row 8: r7: spend is 'much'" in said and "row 10: started_at is 2999" in said
    for text, name in ((json.dumps(rows), "a.json"), ("\n".join(map(json.dumps, rows)), "l.jsonl"), (as_csv(rows), "u16.csv")):
        (tmp_path / name).write_text(text, encoding="utf-16" if name.startswith("u16") else "utf-8-sig")
        assert run("litellm-spend", str(tmp_path / name), "--json") == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["added"], found["known"], found["bad"]) == (0, 2498, 2)
    with connect(home) as client:
        totals = client.view_rows("totals", surface="import")[0]
        assert totals["calls"] == 2498 and Decimal(totals["cost_usd"]) == Decimal("2.498")
        row = client.call(client.view_rows("recent_calls", limit=1)[0]["call_id"])
        assert (row["surface"], row["price_version"], row["flags"]) == ("import", "reported by litellm", ["imported"])
        assert "192.0.2.1" not in str(row) and "secret" not in str(row)
        assert client.verify()["ok"]
        assert Decimal(client.view_rows("totals", since="today")[0]["cost_usd"] or 0) == 0, "they stand where their time falls"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"a,b\n1,2\n", "has no column request_id and no startTime and no spend"),
        (b"request_id,startTime,spent\n", "no column spend"),
        (b"request_id,startTime,spend\n\xff\xfe,1,2\n", "not a text in UTF-8"),
        (b"[1, 2", "is not JSON"),
        (b'{"request_id": 1}\n{broken\n', "line 2 is not JSON"),
        (b"", "has no column"),
    ],
)
def test_a_file_that_is_no_export(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], raw: bytes, why: str):
    file = tmp_path / "x"
    file.write_bytes(raw)
    assert run("litellm-spend", str(file)) == 2
    assert why in capsys.readouterr().err
    assert run("litellm-spend", str(tmp_path / "missing")) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"surface": "magic"}, "no 'surface'"),
        ({"call_id": "x"}, "must be a UUIDv7"),
        ({"started_at": "soon"}, "write a time"),
        ({"started_at": "2025-01-01T00:00:00"}, "names no time zone"),
        ({"status": "fine"}, "it must be ok"),
        ({"tags": [1]}, "tags must be"),
        ({"cost_usd": "much"}, "cost_usd"),
        ({"input_tokens": "many"}, "input_tokens"),
    ],
)
def test_a_row_that_the_gateway_does_not_take(home: Home, row: dict[str, Any], why: str):
    with connect(home) as client:
        told = client.post("/api/import", {"rows": [{**call_of(ROW), **row}, call_of({**ROW, "request_id": "good"})]})
        assert why in told["bad"][0]["why"] and (told["bad"][0]["index"], told["added"]) == (0, 1)
        for body in ({}, {"rows": []}, {"rows": [5]}, {"rows": [{}] * 5001}):
            with pytest.raises((UsageError, ConfigError)):
                client.post("/api/import", body)
