"""Fuzzing of the gateway's HTTP surface: from its own OpenAPI document, and with bytes that are no HTTP at all."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from random import Random
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from served import Served

MODELS = ("priced", "priced-claude", "up/tools", "claude/stream-3", "nothing-like-it")
NEVER = {"/api/stop"}
SECRETS = re.compile(r"Traceback|File \"|site-packages|failed inside|upstream-key")


BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def host_of(place: Served) -> tuple[str, int]:
    host, _, port = place.http.removeprefix("http://").partition(":")
    return host, int(port)


def checked(status: int, text: str, about: object) -> None:
    """No answer blames the gateway, and none shows its inside."""
    assert status != 500, (repr(about)[:1500], text[:400])
    assert not SECRETS.search(text), (repr(about)[:1500], text[:400])


def fuzz(
    place: Served, key: str, *, examples: int, random: bool = False, reading: bool = False, modes: tuple[Any, ...] = BOTH
) -> Counter[int]:
    """Calls every route that a key may use with bodies made from the OpenAPI document, valid ones and others; gives the statuses."""
    document = requests.get(f"{place.http}/openapi.json", headers={"Authorization": f"Bearer {key}"}, timeout=20).json()
    schema = schemathesis.openapi.from_dict(document)
    seen: Counter[int] = Counter()
    session = requests.Session()
    for result in schema.get_all_operations():
        operation = result.ok()
        about = document["paths"][operation.path][operation.method.lower()]
        if operation.path in NEVER or about["x-aiplat-access"] == "owner" or (operation.method.upper() == "GET" and not reading):
            continue
        for mode in modes:
            _one(place, key, session, operation, mode, examples, seen, random)
    return seen


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PIXEL = "data:image/png;base64,AA=="
INPUT_IMAGE = {"type": "input_image", "image_url": PIXEL}
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "y"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stop": ["x"], "max_tokens": 5, "temperature": 0.5, "seed": 1, "n": 1, "stream": False, "metadata": {"a": "b"}, "user": "u",
    },
    "/v1/messages": {
        "max_tokens": 5,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, IMAGE]},
            {"role": "assistant", "content": [{"type": "thinking"}, {"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "y"}]}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f"}, "thinking": {"type": "enabled", "budget_tokens": 2000}, "stop_sequences": ["x"],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}, "metadata": {"user_id": "u"},
    },
    "/v1/responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}, INPUT_IMAGE]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "y"},
            {"type": "reasoning", "summary": []},
        ],
        "instructions": "Be brief.", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        "reasoning": {"effort": "low"}, "include": ["message.output_text.logprobs"], "top_logprobs": 1, "max_output_tokens": 5,
    },
    "/v1/embeddings": {"input": ["x", "y"], "encoding_format": "float", "dimensions": 8, "user": "u"},
    "/v1beta/models/MODEL:generateContent": {
        "contents": [
            {"role": "user", "parts": [{"text": "x"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"y": 1}}}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 5, "stopSequences": ["x"], "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"},
            "thinkingConfig": {"thinkingBudget": 100}, "candidateCount": 1,
        },
    },
    "/v1beta/models/MODEL:batchEmbedContents": {"requests": [{"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 8}]},
}  # fmt: skip
"""A body of every part that each wire knows, for `mutated`."""
ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, 10**30, "", "x", "\ud800", "\0", [], [[]], [5], {}, {"type": 5}, {"type": "x"}, {"role": 5})


def mutated(body: Any, rng: Random) -> Any:
    """The body with one part of it replaced by something that it should not be, left out, or doubled."""
    copy = json.loads(json.dumps(body))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for at in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, at))
            if isinstance(node[at], dict | list):
                walk(node[at])

    walk(copy)
    node, at = rng.choice(places)
    what = rng.random()
    if what < 0.1 and isinstance(node, dict):
        del node[at]
    elif what < 0.15 and isinstance(node, list):
        node.append(node[at])
    else:
        node[at] = rng.choice(ODD)
    return copy


def mutate(place: Served, key: str, *, count: int, seed: int) -> Counter[int]:
    """Sends `count` bodies, each with a few parts of a good one changed, to each of the wires; gives the statuses."""
    rng = Random(seed)
    session = requests.Session()
    seen: Counter[int] = Counter()
    for path, valid in VALID.items():
        for number in range(count):
            body = valid
            for _ in range(rng.choice((1, 1, 2))):
                body = mutated(body, rng)
            model = MODELS[number % len(MODELS)]
            body = {**body, "model": model} if "MODEL" not in path else body
            told = session.post(
                place.http + path.replace("MODEL", model), data=json.dumps(body), headers={"Authorization": f"Bearer {key}"}, timeout=30
            )
            seen[told.status_code] += 1
            checked(told.status_code, told.text, (path, body))
    return seen


def _one(place: Served, key: str, session: Any, operation: Any, mode: Any, examples: int, seen: Counter[int], random: bool) -> None:
    count = 0

    def run(case: Any) -> None:
        nonlocal count
        count += 1
        model = MODELS[count % len(MODELS)]
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body["model"] = model
        if "model" in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE:
            case.path_parameters["model"] = model.replace("/", "-")
        answer = case.call(base_url=place.http, headers={"Authorization": f"Bearer {key}"}, session=session, timeout=20)
        seen[answer.status_code] += 1
        checked(answer.status_code, answer.text, (operation.method, operation.path, case.body))

    settled = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=not random,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    try:
        strategy = operation.as_strategy(generation_mode=mode)
        settled(given(case=strategy)(run))()
    except Exception as error:  # an operation without parameters has no wrong ones
        if "Unsatisfiable" not in type(error).__name__ and "negat" not in str(error).lower():
            raise


def raw(place: Served, data: bytes, *, more: bytes = b"", wait_s: float = 20.0) -> bytes:
    """What the gateway answers to these bytes until it closes or says nothing more for `wait_s` seconds."""
    data = data.replace(b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1:%d\r\n" % host_of(place)[1])
    with socket.create_connection(host_of(place), timeout=wait_s) as line:
        got = b""
        try:
            line.sendall(data)
            if more:
                time.sleep(0.05)
                line.sendall(more)
            while piece := line.recv(65536):
                got += piece
        except (ConnectionError, TimeoutError):
            pass
        return got


def post_head(key: str, path: str = "/v1/chat/completions", *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", "Content-Type: application/json", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found[1]) if found else 0


def sane(place: Served, key: str) -> None:
    """The gateway still answers a good call, and found nothing wrong inside."""
    body = {"model": "up/echo", "messages": [{"role": "user", "content": "all is well"}]}
    answer = requests.post(f"{place.http}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=20)
    assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"] == "all is well"
    incidents = json.dumps(place.client.status()["incidents"])
    assert "failed inside" not in incidents, incidents
    log = place.home.log_file.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
