"""The vault: provider keys encrypted at rest in `AIPLAT_HOME`, with their master key elsewhere.

The master key stands in the operating system's keyring where there is one, else in an owner-only file outside the home. A copy of the
home alone opens nothing; whoever can act as its owner can read both.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from aiplat_lab.core.errors import ConfigError, UsageError, did_you_mean

if sys.platform != "win32":
    import fcntl

KEYRING = "aiplat-vault"
"""The service under which master keys stand in a keyring."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MASTER_BYTES = 32
_NONCE_BYTES = 12
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Secret:
    """A text that prints as `***`; `reveal` is called at the last moment, in a provider."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)


class Entry(NamedTuple):
    """What may be said of a key in the vault."""

    name: str
    kept_at: str


@dataclass(slots=True)
class _Content:
    """The vault's file."""

    id: str
    master: str
    """`keyring` or `file`: where the master key stands."""
    entries: dict[str, dict[str, str]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        data = {"version": 1, "id": self.id, "master": self.master, "entries": self.entries}
        return json.dumps(data, indent=1).encode() + b"\n"


class Vault:
    """The provider keys of one home.

    Args:
        path: the vault's file.
        keys: the folder of master keys, outside the home.
    """

    def __init__(self, path: Path, *, keys: Path) -> None:
        self.path = path
        self._keys = keys

    def entries(self) -> list[Entry]:
        """What is in it, by name; opens nothing.

        Raises:
            ConfigError: the file is damaged.
        """
        content = self._read()
        return [] if content is None else [Entry(name, one["at"]) for name, one in sorted(content.entries.items())]

    def get(self, name: str) -> Secret:
        """A key.

        Raises:
            ConfigError: it is not there, or the vault cannot be opened; the text says why, and nothing is changed.
        """
        content = self._read()
        if content is None or name not in content.entries:
            near = did_you_mean(name, content.entries) if content else ""
            raise ConfigError(f"the vault has no key {name!r}.{near} `aiplat keys adopt VARIABLE --as {name}` puts one in")
        return Secret(self._open(content, name, self._master(content)))

    def put(self, name: str, value: Secret) -> bool:
        """Keeps a key, in place of an older one of that name; gives whether there was one.

        Raises:
            UsageError: it is no name.
            ConfigError: the vault is damaged or cannot be opened or written; nothing is changed.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name[:40]!r} cannot name a key: write letters, digits, dots, dashes and underscores, such as openai")
        with self._changing():
            content = self._read() or self._fresh()
            master = self._master(content)
            for other in content.entries:
                self._open(content, other, master)  # a vault that cannot be read in full is not written to
            known = name in content.entries
            nonce = os.urandom(_NONCE_BYTES)
            sealed = _cipher(master).encrypt(nonce, value.reveal().encode(), _context(content, name))
            content.entries[name] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "nonce": _text(nonce), "sealed": _text(sealed)}
            self._write(content)
        return known

    def forget(self, name: str) -> None:
        """Takes a key out.

        Raises:
            UsageError: there is none of that name.
            ConfigError: the vault is damaged or cannot be written.
        """
        with self._changing():
            content = self._read()
            if content is None or name not in content.entries:
                near = did_you_mean(name, content.entries) if content else ""
                raise UsageError(f"the vault has no key {name[:64]!r}.{near}")
            del content.entries[name]
            self._write(content)

    def where(self) -> str:
        """Where the master key stands, for people."""
        content = self._read()
        if content is None:
            return ""
        return "the system's keyring" if content.master == "keyring" else str(self._key_file(content))

    # --- the file -----------------------------------------------------------------------------------------------------

    def _read(self) -> _Content | None:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"the vault {self.path} cannot be read: {error.strerror or error}") from None
        try:
            return _parsed(json.loads(raw))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._damaged("it is not what `aiplat keys adopt` writes") from None

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(
            f"the vault {self.path} is damaged: {why}. Nothing was changed. Put a copy of the file back, or move it away and adopt the "
            "keys anew (`aiplat keys adopt`)."
        )

    def _write(self, content: _Content) -> None:
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        try:
            _write_new(fresh, content.to_bytes())
            fresh.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise ConfigError(f"the vault {self.path} cannot be written: {error.strerror or error}; it is as it was") from None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, whichever processes make them."""
        if sys.platform == "win32":
            yield
            return
        try:
            fd = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"the vault {self.path} cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    # --- the master key -----------------------------------------------------------------------------------------------

    def _fresh(self) -> _Content:
        """An empty vault, with a new master key kept."""
        _cipher(bytes(_MASTER_BYTES))  # what is missing is told before anything is made
        vault_id, master = os.urandom(8).hex(), os.urandom(_MASTER_BYTES)
        if _to_keyring(vault_id, master):
            return _Content(vault_id, "keyring")
        content = _Content(vault_id, "file")
        path = self._key_file(content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_new(path, master.hex().encode() + b"\n")
            _sync_folder(path.parent)
        except OSError as error:
            raise ConfigError(f"the vault's master key cannot be written to {path}: {error.strerror or error}") from None
        return content

    def _key_file(self, content: _Content) -> Path:
        return self._keys / f"{content.id}.key"

    def _master(self, content: _Content) -> bytes:
        text = _from_keyring(content.id) if content.master == "keyring" else self._from_file(self._key_file(content))
        try:
            master = bytes.fromhex(text)
        except ValueError:
            master = b""
        if len(master) != _MASTER_BYTES:
            raise ConfigError(f"the master key of the vault {self.path}, in {self.where()}, is damaged; put a copy of it back")
        return master

    def _from_file(self, path: Path) -> str:
        try:
            about = path.stat()
            if sys.platform != "win32" and (about.st_mode & _OTHERS or about.st_uid != os.getuid()):
                mode = f"{stat.S_IMODE(about.st_mode):03o}"
                raise ConfigError(
                    f"others can open the master key {path} (mode {mode}), so it is not used: run `chmod 600 {path}`, and change the keys "
                    "in the vault at their providers if somebody may have read it"
                )
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise ConfigError(
                f"the master key of the vault {self.path} is missing: {path}. Put it back, or move the vault away and adopt the keys anew."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the master key {path} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None

    def _open(self, content: _Content, name: str, master: bytes) -> str:
        from cryptography.exceptions import InvalidTag  # with `_cipher`, whose words it is

        cipher, entry = _cipher(master), content.entries[name]
        try:
            nonce, sealed = base64.b64decode(entry["nonce"], validate=True), base64.b64decode(entry["sealed"], validate=True)
            return str(cipher.decrypt(nonce, sealed, _context(content, name)), "utf-8")
        except (InvalidTag, binascii.Error, ValueError):
            raise self._damaged(f"the key {name!r} does not open with the master key in {self.where()}") from None


def _cipher(master: bytes) -> Any:  # Any: the library is optional, and loaded where it is needed
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigError('the vault needs the package cryptography: pip install "aiplat-lab[vault]"') from None
    return AESGCM(master)


def _context(content: _Content, name: str) -> bytes:
    """What a sealed key is bound to, so that none passes for another."""
    return f"{content.id}/{name}".encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _parsed(data: Any) -> _Content:  # Any: JSON, narrowed here
    if data["version"] != 1 or data["master"] not in ("keyring", "file") or not re.fullmatch(r"[0-9a-f]{16}", data["id"]):
        raise ValueError
    entries = {}
    for name, one in data["entries"].items():
        entries[str(name)] = {part: one[part] for part in ("at", "nonce", "sealed")}
        if not all(isinstance(value, str) for value in entries[name].values()):
            raise ValueError
    return _Content(data["id"], data["master"], entries)


def _write_new(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can open, down to the disk; in place of one that a killed process left."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _to_keyring(vault_id: str, master: bytes) -> bool:
    """Whether the system has a keyring that kept the master key."""
    try:
        import keyring  # an optional library
        from keyring.errors import KeyringError
    except ImportError:
        return False
    try:
        keyring.set_password(KEYRING, vault_id, master.hex())
        return bool(keyring.get_password(KEYRING, vault_id) == master.hex())
    except (KeyringError, RuntimeError):
        return False


def _from_keyring(vault_id: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise ConfigError(
            "the vault's master key is in the system's keyring, which needs the package keyring: pip install keyring"
        ) from None
    try:
        found = keyring.get_password(KEYRING, vault_id)
    except (KeyringError, RuntimeError) as error:
        raise ConfigError(f"the keyring with the vault's master key cannot be read: {error}") from None
    if not found:
        raise ConfigError(f"the keyring has no master key {vault_id} of the service {KEYRING}: unlock it, or adopt the keys anew")
    return str(found)
