"""Keys that a command gives: run without a shell, once for all callers, kept until shortly before they end, never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from wirekit import Upstream, ask, at, failing, run

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import parse, secret
from aiplat_lab.providers import _keys
from aiplat_lab.providers._keys import KeptKey, token_of

LONG_S = 100_000
"""How long a token lasts here, so that a slow machine is no matter."""
REPLY = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}


def script(folder: Path, code: str) -> str:
    """A reference to a command that runs `code` and counts how often it was run, one line each."""
    file = folder / "give key.py"
    file.write_text(f"open({str(folder / 'runs')!r}, 'a').write('x\\n')\n{code}")
    return f"command:{sys.executable} '{file}'"


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


def jwt(ends: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{claims}.sig"


def test_settings_take_a_command_and_no_key() -> None:
    parse('[providers.v]\nkind = "vertex"\napi_key = "command:gcloud auth print-access-token"')
    with pytest.raises(ConfigError, match="never the key itself"):
        parse('[providers.v]\nkind = "vertex"\napi_key = "ya29.secret"')


def test_what_a_command_prints_is_the_key_and_no_shell_sees_it(tmp_path: Path) -> None:
    assert secret("command:echo '$HOME; ls' x").reveal() == "$HOME; ls x"
    assert secret(script(tmp_path, "print('  key-1  ')")).reveal() == "key-1"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("command:", "names no program"),
        ("command:echo 'x", "cannot be read"),
        ("command:/no/such/program now", "/no/such/program cannot be run"),
        ("command:false", "failed with exit code 1"),
        ("command:true", "printed nothing"),
    ],
)
def test_a_command_that_gives_nothing_is_told_in_one_sentence(reference: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        secret(reference)


def test_what_a_failing_command_says_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        secret(script(tmp_path, "import sys; print('sk-secret'); print('sk-secret', file=sys.stderr); sys.exit(3)"))
    assert "sk-secret" not in caught.value.message


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.core.settings._place._COMMAND_S", 0.2)
    with pytest.raises(ConfigError, match=r"gave nothing within 0.2 s"):
        secret("command:sleep 30")


@pytest.mark.parametrize(
    ("text", "value", "left_s"),
    [
        ("plain-key", "plain-key", None),
        ('{"access_token": "t", "expires_in": 100000}', "t", LONG_S),
        (json.dumps({"accessToken": "t", "expires_on": int(time.time() + LONG_S)}), "t", LONG_S),
        ('{"token": "t", "expiry": "2999-01-01T00:00:00Z"}', "t", 3e10),
        ('{"status": {"token": "t", "expirationTimestamp": "2999-01-01T00:00:00+00:00"}}', "t", 3e10),
        ('{\n "AccessKeyId": "A",\n "SecretAccessKey": "S"}', '{"AccessKeyId":"A","SecretAccessKey":"S"}', None),
        ('{"access_token": "t", "expiry": "soon"}', "t", None),
        ('{"access_token": "t", "expires_on": true}', "t", None),
        ("{broken", "{broken", None),
        (jwt(time.time() + LONG_S), None, LONG_S),
        ("ey.x.y", "ey.x.y", None),
    ],
    ids=[
        *("plain", "length", "end", "iso-end", "nested-end", "aws", "no-end", "odd-end", "broken", "jwt", "no-jwt"),
    ],  # the texts hold the time
)
def test_tokens_and_their_ends_are_found_in_what_commands_print(text: str, value: str | None, left_s: float | None) -> None:
    found = token_of(text)
    assert found.value == (value or text)
    if left_s is None:
        assert found.ends is None
    else:
        assert found.ends is not None
        assert found.ends - time.time() == pytest.approx(left_s, rel=0.2)


def test_many_callers_run_the_command_once_and_a_token_that_ends_is_got_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(_keys.time, "monotonic", lambda: now[0])
    code = "import json, time; print(json.dumps({'access_token': 'token-' + str(time.time_ns()), 'expires_in': 3600}))"
    kept = KeptKey("acme", script(tmp_path, code), needed=True)

    async def inside() -> list[str]:
        first = await asyncio.gather(*(kept.get() for _ in range(20)))
        assert len(set(first)) == 1
        now[0] = 3600 - _keys.MARGIN_S - 5
        assert await kept.get() == first[0]
        now[0] += 10
        return [first[0], await kept.get()]

    first, second = asyncio.run(inside())
    assert first != second
    assert runs(tmp_path) == 2


def test_one_that_does_not_say_when_it_ends_is_kept_for_five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(_keys.time, "monotonic", lambda: now[0])
    kept = KeptKey("acme", script(tmp_path, "print('k')"), needed=True)
    for at_s, expected in ((0, 1), (299, 1), (301, 2)):
        now[0] = at_s
        assert asyncio.run(kept.get()) == "k"
        assert runs(tmp_path) == expected


def test_a_caller_who_leaves_takes_the_key_from_nobody(tmp_path: Path) -> None:
    kept = KeptKey("acme", script(tmp_path, "import time; time.sleep(0.3); print('k')"), needed=True)

    async def inside() -> str:
        first = asyncio.create_task(kept.get())
        second = asyncio.create_task(kept.get())
        await asyncio.sleep(0.05)
        first.cancel()
        return await second

    assert asyncio.run(inside()) == "k"
    assert runs(tmp_path) == 1


def test_a_refused_key_is_got_anew_for_the_next_call(tmp_path: Path) -> None:
    async def talk(provider: Any, upstream: Upstream) -> list[str]:
        upstream.says({"error": {"message": "expired"}}, status=401)
        upstream.says(REPLY)
        with failing("auth", 401):
            await provider.chat(ask(), at())
        await provider.chat(ask(), at())
        return [seen.headers["authorization"] for seen in upstream.seen]

    first, second = run("groq", talk, api_key=script(tmp_path, "import time; print('key-' + str(time.time_ns()))"))
    assert first != second


def test_a_failing_command_names_the_setting(tmp_path: Path) -> None:
    async def talk(provider: Any, upstream: Upstream) -> None:
        await provider.chat(ask(), at())

    with pytest.raises(ConfigError, match=r"providers.acme.api_key: the key's command .* failed with exit code 2"):
        run("groq", talk, api_key=script(tmp_path, "import sys; sys.exit(2)"))
