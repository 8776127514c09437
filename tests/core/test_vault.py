"""Provider keys at rest: encrypted, written whole or not at all, and never opened for somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from aiplat_lab.core.errors import ConfigError, UsageError
from aiplat_lab.core.settings import Home, Secret, Vault, present, secret

KEY = "sk-canary-vault-0123456789abcdef0123456789"


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of master keys."""
    folder = tmp_path / "masters"
    monkeypatch.setenv("AIPLAT_VAULT_KEYS", str(folder))
    monkeypatch.setitem(sys.modules, "keyring", None)
    return folder


@pytest.fixture
def vault(home: Home, keys: Path) -> Vault:
    return home.vault


def master(keys: Path) -> Path:
    (found,) = keys.glob("*.key")
    return found


def test_a_key_goes_in_and_comes_out(home: Home, keys: Path, vault: Vault):
    assert vault.entries() == [] and not vault.path.exists()
    assert vault.put("openai", Secret(KEY)) is False
    assert home.vault.get("openai").reveal() == KEY == secret("vault:openai").reveal()
    assert [entry.name for entry in vault.entries()] == ["openai"]
    assert vault.put("openai", Secret(KEY + "2")) is True and vault.put("acme-2", Secret("another")) is False
    assert (vault.get("openai").reveal(), vault.get("acme-2").reveal()) == (KEY + "2", "another")
    vault.forget("openai")
    assert [entry.name for entry in vault.entries()] == ["acme-2"] and vault.get("acme-2").reveal() == "another"


def test_it_is_encrypted_and_for_its_owner_alone(home: Home, keys: Path, vault: Vault):
    vault.put("openai", Secret(KEY))
    assert str(master(keys)) == vault.where() and not master(keys).is_relative_to(home.path)
    for path in (vault.path, master(keys)):
        assert path.stat().st_mode & 0o777 == 0o600
    assert keys.stat().st_mode & 0o777 == 0o700
    for path in [*home.path.rglob("*"), *keys.rglob("*")]:
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    first = vault.path.read_bytes()
    vault.put("openai", Secret(KEY))
    assert vault.path.read_bytes() != first  # the same key never looks the same
    assert [path.name for path in home.path.iterdir() if "vault" in path.name and path.name != "vault.lock"] == ["vault.json"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-x", "x" * 65, "é"])
def test_names_that_are_none(vault: Vault, name: str):
    with pytest.raises(UsageError, match="cannot name a key"):
        vault.put(name, Secret(KEY))
    assert not vault.path.exists()


def test_what_is_not_there(vault: Vault, keys: Path):
    with pytest.raises(ConfigError, match="aiplat keys adopt VARIABLE --as openai"):
        secret("vault:openai")
    assert not present("vault:openai")
    vault.put("openai", Secret(KEY))
    assert present("vault:openai") and not present("vault:opena")
    with pytest.raises(ConfigError, match="Did you mean openai"):
        vault.get("opena")
    with pytest.raises(UsageError, match="Did you mean openai"):
        vault.forget("opena")


DAMAGE = {
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[: len(raw) // 2],
    "not text": lambda raw: b"\xff\xfe" + raw,
    "a list": lambda raw: b"[1]",
    "another version": lambda raw: raw.replace(b'"version": 1', b'"version": 2'),
    "no id": lambda raw: raw.replace(b'"id"', b'"ix"'),
    "an id that is a path": lambda raw: json.dumps({**json.loads(raw), "id": "../../../etc/x"}).encode(),
    "entries that are none": lambda raw: json.dumps({**json.loads(raw), "entries": [1]}).encode(),
    "a part that is missing": lambda raw: raw.replace(b'"nonce"', b'"n"'),
    "not base64": lambda raw: raw.replace(b'"nonce": "', b'"nonce": "!'),
    "one changed byte": lambda raw: _turned(raw),
    "a renamed entry": lambda raw: raw.replace(b'"openai"', b'"acme"'),
}


def _turned(raw: bytes) -> bytes:
    data = json.loads(raw)
    text = data["entries"]["openai"]["sealed"]
    data["entries"]["openai"]["sealed"] = ("A" if text[0] != "A" else "B") + text[1:]
    return json.dumps(data).encode()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_told_and_nothing_is_lost(vault: Vault, keys: Path, damage: str):
    vault.put("openai", Secret(KEY))
    whole = vault.path.read_bytes()
    vault.path.write_bytes(DAMAGE[damage](whole))
    broken = vault.path.read_bytes()
    with pytest.raises(ConfigError, match=r"damaged.*Nothing was changed") as caught:
        vault.get("acme" if damage == "a renamed entry" else "openai")
    assert str(vault.path) in str(caught.value) and KEY not in str(caught.value)
    with pytest.raises(ConfigError, match="damaged"):
        vault.put("another", Secret("x" * 20))
    assert vault.path.read_bytes() == broken
    vault.path.write_bytes(whole)
    assert vault.get("openai").reveal() == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_master_key_that_others_can_open_is_not_used(vault: Vault, keys: Path, mode: int):
    vault.put("openai", Secret(KEY))
    master(keys).chmod(mode)
    for use in (lambda: vault.get("openai"), lambda: vault.put("acme", Secret("y" * 20))):
        with pytest.raises(ConfigError, match=f"chmod 600.*{master(keys).name}"):
            use()
    master(keys).chmod(0o600)
    assert vault.get("openai").reveal() == KEY


@pytest.mark.parametrize(
    ("content", "why"), [(None, "is missing"), (b"", "damaged"), (b"zz" * 32, "damaged"), (b"00" * 31, "damaged"), (b"\xff", "not text")]
)
def test_a_master_key_that_is_missing_or_damaged(vault: Vault, keys: Path, content: bytes | None, why: str):
    vault.put("openai", Secret(KEY))
    path, before = master(keys), vault.path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    for use in (lambda: vault.get("openai"), lambda: vault.put("acme", Secret("y" * 20))):
        with pytest.raises(ConfigError, match=why):
            use()
    assert vault.path.read_bytes() == before


def test_another_master_key_opens_nothing(vault: Vault, keys: Path):
    vault.put("openai", Secret(KEY))
    master(keys).write_text("00" * 32)
    with pytest.raises(ConfigError, match="does not open with the master key"):
        vault.get("openai")


def test_a_folder_that_cannot_be_written(vault: Vault, home: Home, keys: Path, monkeypatch: pytest.MonkeyPatch):
    vault.put("openai", Secret(KEY))
    before = vault.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device; it is as it was"):
        vault.put("acme", Secret("y" * 20))
    monkeypatch.undo()
    assert vault.path.read_bytes() == before and not list(home.path.glob("*.new"))


def test_several_processes_put_keys_at_once(vault: Vault, keys: Path):
    code = (
        "import sys; from pathlib import Path; from aiplat_lab.core.settings import Secret, Vault\n"
        "vault = Vault(Path(sys.argv[1]), keys=Path(sys.argv[2]))\n"
        "[vault.put(f'{sys.argv[3]}-{n}', Secret('k' * 20)) for n in range(5)]\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(vault.path), str(keys), name]) for name in ("a", "b", "c")]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    assert len(vault.entries()) == 15 and all(vault.get(entry.name).reveal() == "k" * 20 for entry in vault.entries())
    assert len(list(keys.glob("*.key"))) == 1


# --- the system's keyring ---------------------------------------------------------------------------------------------


class FakeKeyring(ModuleType):
    """A keyring as the library shows it."""

    def __init__(self, *, keeps: bool = True, fails: bool = False) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.keeps, self.fails = keeps, fails

    def _look(self) -> None:
        if self.fails:
            raise sys.modules["keyring.errors"].KeyringError("locked")

    def get_password(self, service: str, name: str) -> str | None:
        self._look()
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, value: str) -> None:
        self._look()
        if self.keeps:
            self.kept[service, name] = value

    def delete_password(self, service: str, name: str) -> None:
        self._look()
        if (service, name) not in self.kept:
            raise sys.modules["keyring.errors"].KeyringError("not there")
        del self.kept[service, name]


def with_keyring(monkeypatch: pytest.MonkeyPatch, keyring: FakeKeyring) -> FakeKeyring:
    errors = ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return keyring


def test_the_master_key_is_in_the_keyring_where_there_is_one(home: Home, keys: Path, monkeypatch: pytest.MonkeyPatch):
    keyring = with_keyring(monkeypatch, FakeKeyring())
    home.vault.put("openai", Secret(KEY))
    assert home.vault.get("openai").reveal() == KEY and home.vault.where() == "the system's keyring"
    assert not keys.exists() and [service for service, _ in keyring.kept] == ["aiplat-vault"]
    keyring.fails = True
    with pytest.raises(ConfigError, match="cannot be read: locked"):
        home.vault.get("openai")
    keyring.fails = False
    keyring.kept.clear()
    with pytest.raises(ConfigError, match="has no master key"):
        home.vault.get("openai")


@pytest.mark.parametrize("keyring", [FakeKeyring(keeps=False), FakeKeyring(fails=True)])
def test_a_keyring_that_keeps_nothing_is_none(home: Home, keys: Path, monkeypatch: pytest.MonkeyPatch, keyring: FakeKeyring):
    with_keyring(monkeypatch, keyring)
    home.vault.put("openai", Secret(KEY))
    assert home.vault.get("openai").reveal() == KEY and home.vault.where() == str(master(keys))


def test_without_the_library_it_says_what_to_install(home: Home, keys: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError, match=r"aiplat-lab\[vault\]"):
        home.vault.put("openai", Secret(KEY))
    assert not home.vault.path.exists() and not keys.exists()
