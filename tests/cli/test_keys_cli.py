"""`aiplat keys`: virtual keys and provider keys as a person handles them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clikit import Line, process
from served import Served, served

from aiplat_lab.client import connect
from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home, secret

PROVIDER_KEY = "sk-canary-adopt-0123456789abcdef0123456789"
_KEY = re.compile(r"aiplat-[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("keys-cli") / "home") as found:
        yield found


@pytest.fixture
def keys(place: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    return Line(capsys, place.home.path)


def test_a_key_is_made_with_all_that_it_may_have(keys: Line):
    who = "--name ci --team risk --project churn --user ann --role member --expires 90d --models priced,priced-claude"
    limits = "--limit-usd 50 --limit-period month --rpm 60 --tpm 90000 --parallel 4"
    said = keys("keys", "create", *who.split(), *limits.split(), "--json")
    (row,) = said.rows
    assert _KEY.fullmatch(row["key"]) and said.out.count(row["key"]) == 1
    wanted = {"name": "ci", "team": "risk", "project": "churn", "user_id": "ann", "role": "member", "models": ["priced", "priced-claude"]}
    wanted |= {"limit_usd": "50", "limit_period": "month", "rpm": 60, "tpm": 90000, "parallel": 4}
    assert wanted.items() <= row.items() and row["expires_at"] > row["created_at"]
    listed = keys("keys", "list", "--json")
    assert row["key"] not in listed.out
    assert next(one for one in listed.rows if one["id"] == row["id"])["state"] == "live"
    assert "sha256" not in listed.out
    table = keys("keys", "list").out
    assert "last_used_at" in table and "limit_usd" in table and "ci" in table


def test_a_key_is_rotated_and_revoked(keys: Line):
    (old,) = keys("keys", "create", "--team", "risk", "--expires", "30d", "--json").rows
    (new,) = keys("keys", "rotate", old["id"], "--overlap", "2h", "--json").rows
    assert new["replaces"] == old["id"] and new["team"] == "risk" and new["key"] != old["key"] and new["old_ends_at"] < old["expires_at"]
    keys("keys", "rotate", old["id"]).complains(2, "being replaced by", new["id"])
    assert keys("keys", "revoke", new["id"]).code == 0
    keys("keys", "rotate", new["id"]).complains(2, "is revoked", "only a live key")
    keys("keys", "rotate", "key-nobody").complains(2, "there is no key")
    keys("keys", "rotate", old["id"], "--overlap", "soon").complains(2, "not a length of time")
    fresh = keys("keys", "create", "--name", "fresh", "--json").rows[0]["id"]
    keys("keys", "rotate", fresh, "--overlap", "999999w").complains(2, "longer than the calendar")
    said = keys("keys", "rotate", keys("keys", "create", "--json").rows[0]["id"], "--overlap", "0h")
    assert len(_KEY.findall(said.out)) == 1 and "Keep the key now" in said.err and "is good until" in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--expires -1d", "expected one argument"),
        ("--expires 0d", "would never be good"),
        ("--expires 999999w", "beyond the calendar"),
        ("--expires yesterday", "not a length of time"),
        ("--role boss", "no role 'boss'"),
        ("--models pricd", "Did you mean priced"),
        ("--limit-usd 0", "above 0"),
        ("--limit-usd -5", "above 0"),
        ("--limit-usd many", "write US dollars"),
        ("--limit-period fortnight", "no period 'fortnight'"),
        ("--limit-usd 1e400", "at most 999,999,999"),
        ("--rpm 0", "above 0"),
        ("--tpm 99999999999999999999", "at most"),
        ("--parallel few", "not a whole number"),
    ],
)
def test_a_key_that_cannot_be_made(keys: Line, words: str, why: str):
    keys("keys", "create", *words.split()).complains(2, why)


def test_keys_and_their_last_use_survive_a_restart(keys: Line, place: Served):
    (made,) = keys("keys", "create", "--team", "lasting", "--limit-usd", "0.5", "--json").rows
    with connect(url=place.http, key=made["key"]) as client:
        assert client.chat("hello", model="priced").text
    (before,) = [row for row in keys("keys", "list", "--json").rows if row["id"] == made["id"]]
    place.client.stop()
    (after,) = [row for row in keys("keys", "list", "--json").rows if row["id"] == made["id"]]
    assert before["last_used_at"] and after["last_used_at"] and after["spent_usd"] == before["spent_usd"] != "0"
    assert {**after, "last_used_at": ""} == {**before, "last_used_at": ""}
    with connect(url=place.http, key=made["key"]) as client:
        assert client.chat("hello", model="priced").text


# --- provider keys ----------------------------------------------------------------------------------------------------


@pytest.fixture
def masters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "masters"
    monkeypatch.setenv("AIPLAT_VAULT_KEYS", str(folder))
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return folder


def test_adopt_from_the_environment(line: Line, home: Home, masters: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", PROVIDER_KEY)
    said = line("keys", "adopt", "OPENAI_API_KEY")
    assert said.code == 0 and 'api_key = "vault:openai"' in said.out
    assert "unset OPENAI_API_KEY" in said.err and "[providers.openai]" in said.err
    assert PROVIDER_KEY not in said.out + said.err
    assert secret("vault:openai").reveal() == PROVIDER_KEY
    (row,) = line("keys", "adopt", "OPENAI_API_KEY", "--as", "acme", "--json").rows
    assert (row["name"], row["setting"], row["replaced"]) == ("acme", 'api_key = "vault:acme"', False)
    assert line("keys", "adopt", "OPENAI_API_KEY", "--json").rows[0]["replaced"] is True
    assert not home.gateway_file.exists()  # no gateway was asked, nor started


@pytest.mark.parametrize(
    "text",
    [
        "OPENAI_API_KEY={}",
        "export OPENAI_API_KEY={}",
        'OPENAI_API_KEY="{}"',
        "OPENAI_API_KEY = '{}' # mine",
        "OPENAI_API_KEY={} # mine",
        "\ufeffOPENAI_API_KEY={}",
    ],
)
def test_adopt_from_a_file(line: Line, masters: Path, tmp_path: Path, text: str):
    file = tmp_path / ".env"
    file.write_text("# OPENAI_API_KEY=old\nOTHER=1\n" + text.format(PROVIDER_KEY).replace("\ufeff", "") + "\n", encoding="utf-8")
    said = line("keys", "adopt", "OPENAI_API_KEY", "--from", str(file))
    assert said.code == 0 and "delete line 3" in said.err and PROVIDER_KEY not in said.out + said.err
    assert secret("vault:openai").reveal() == PROVIDER_KEY


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "has no OPENAI_API_KEY"),
        ("", "has no OPENAI_API_KEY"),
        ("two words of text", "no key has"),
        ("clé-0123456789", "no key has"),
        ("a\nb", "no key has"),
        ("aiplat-" + "x" * 43, "a virtual key"),
        ("k" * 10_000, "too long"),
    ],
)
def test_what_cannot_be_adopted(line: Line, home: Home, masters: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, why: str):
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    said = line("keys", "adopt", "OPENAI_API_KEY")
    said.complains(2, why, "Nothing was changed")
    assert not value or value not in said.err
    assert not home.vault.path.exists()


def test_files_that_cannot_be_adopted_from(line: Line, masters: Path, tmp_path: Path):
    line("keys", "adopt", "OPENAI_API_KEY", "--from", str(tmp_path / "none")).complains(2, "cannot be read")
    (tmp_path / ".env").write_text("OPENAI_KEY=1\nOPENAI_API_KEY=\n")
    line("keys", "adopt", "OPENAI_API_KEY", "--from", str(tmp_path / ".env")).complains(2, "sets no OPENAI_API_KEY")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    line("keys", "adopt", "OPENAI_API_KEY", "--from", str(tmp_path / "bytes")).complains(2, "not text")
    line("keys", "adopt", "X_KEY", "--to", "nowhere").complains(2, "there is no 'nowhere'")
    line("keys", "adopt", "X_KEY", "--to", "keyring").complains(2, "has no X_KEY")


def test_forget(line: Line, home: Home, masters: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", PROVIDER_KEY)
    line("keys", "adopt", "OPENAI_API_KEY")
    home.settings_file.write_text('[providers.openai]\nkind = "openai"\napi_key = "vault:openai"\n')
    line("keys", "forget", "opena").complains(2, "Did you mean openai")
    said = line("keys", "forget", "openai")
    assert said.code == 0 and "providers.openai.api_key" in said.err and home.vault.entries() == []
    line("keys", "forget", "openai").complains(2, "has no key 'openai'")


def test_a_damaged_vault_is_one_line(line: Line, home: Home, masters: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", PROVIDER_KEY)
    home.vault.path.write_text("{half")
    line("keys", "adopt", "OPENAI_API_KEY").complains(1, "damaged", "Nothing was changed")
    assert home.vault.path.read_text() == "{half"


def test_a_gateway_uses_a_key_of_the_vault_and_shows_it_to_nobody(tmp_path: Path, masters: Path):
    """From the environment of a person, by the command, to the provider; no route of the gateway reads it."""
    with served(tmp_path / "home") as place:
        text = place.home.settings_file.read_text().replace(f"file:{place.home.path / 'upstream.key'}", "vault:up")
        place.home.settings_file.write_text(text)
        known = (place.home.path / "upstream.key").read_text()
        (place.home.path / "upstream.key").unlink()
        said = process(
            place.home.path, "keys", "adopt", "UP_API_KEY", "--json", env={"UP_API_KEY": known, "AIPLAT_VAULT_KEYS": str(masters)}
        )
        assert json.loads(said.out)[0]["setting"] == 'api_key = "vault:up"' and known not in said.out + said.err
        assert place.client.chat("hello", model="up/instant").text
        for path in (place.home.vault.path, next(masters.glob("*.key"))):
            for sql in (f"SELECT * FROM read_text('{path}')", f"SELECT * FROM '{path}'", f"SELECT * FROM read_json('{path}')"):
                with pytest.raises(LedgerError):
                    place.client.sql(sql)
        for answer in (place.client.status(), place.client.models(), place.client.view_rows("meta")):
            assert known not in json.dumps(answer)
        place.home.vault.forget("up")
