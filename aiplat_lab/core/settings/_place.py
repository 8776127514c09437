"""The environment, the files of one `AIPLAT_HOME`, and the keys that references lead to; nothing else reads the environment."""

from __future__ import annotations

import getpass
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import ConfigError, UsageError
from aiplat_lab.core.settings._all import SETTINGS_FILE, Settings
from aiplat_lab.core.settings._read import parse
from aiplat_lab.core.settings._vault import Secret, Vault
from aiplat_lab.core.types import Attribution

_SERVICE = "aiplat"
"""The service under which provider keys stand in a keyring."""
_COMMAND_S = 30.0
"""The longest that a key's command may take."""


@dataclass(frozen=True, slots=True)
class Home:
    """One `AIPLAT_HOME`: the folder with the settings, the ledger and the gateway's address."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """`aiplat.toml`."""
        return self.path / SETTINGS_FILE

    @property
    def ledger_file(self) -> Path:
        """`ledger.duckdb`; only the gateway opens it."""
        return self.path / "ledger.duckdb"

    @property
    def spool(self) -> Path:
        """The folder of the spool's segments."""
        return self.path / "spool"

    @property
    def gateway_file(self) -> Path:
        """`gateway.json`: process id, socket, HTTP address, version."""
        return self.path / "gateway.json"

    @property
    def prompts(self) -> Path:
        """The saved prompts as files, which the gateway writes and kernels read; the ledger is what counts."""
        return self.path / "prompts"

    @property
    def log_file(self) -> Path:
        """`gateway.log`."""
        return self.path / "gateway.log"

    @property
    def vault(self) -> Vault:
        """The provider keys that are kept encrypted in this home."""
        return Vault(self.path / "vault.json", keys=_master_keys())

    @property
    def gateway_lock(self) -> Path:
        """Held with `flock` by the one gateway as long as it lives."""
        return self.path / "gateway.lock"

    @property
    def spawn_lock(self) -> Path:
        """Held with `flock` by the one client that starts a gateway."""
        return self.path / "spawn.lock"

    @property
    def models(self) -> Path:
        """Fetched weights; shared by homes unless `AIPLAT_MODELS` or the home says otherwise."""
        own = os.environ.get("AIPLAT_MODELS")
        return Path(own).expanduser() if own else data_folder() / "models"

    @property
    def socket_folder(self) -> Path:
        """The owner-only folder of the gateway's socket: short, since a socket's path holds at most 107 bytes."""
        digest = hashlib.sha256(str(self.path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        if len(base.encode()) > 60 or not os.access(base, os.W_OK):
            base = "/tmp"  # noqa: S108 (the folder made in it is owner-only and checked)
        uid = os.getuid() if hasattr(os, "getuid") else 0
        return Path(base) / f"aiplat-{uid}-{digest}"

    def load(self) -> Settings:
        """The settings in this home; the built-in ones when it has no `aiplat.toml`.

        Raises:
            ConfigError: as `parse` says, or the file cannot be read.
        """
        try:
            text = self.settings_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.settings_file} cannot be read: {error}") from None
        return parse(text, source=str(self.settings_file))

    def create(self) -> Home:
        """The same home, with its folders there, owner-only.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.spool.mkdir(exist_ok=True, mode=0o700)
            if not os.access(self.path, os.W_OK) or not os.access(self.spool, os.W_OK):
                raise PermissionError(13, "the folder is read-only")
        except OSError as error:
            raise ConfigError(
                f"AIPLAT_HOME {str(self.path)!r} cannot be used: {error.strerror or error}. Set AIPLAT_HOME to a folder you can write."
            ) from None
        return self


def data_folder() -> Path:
    """The platform's folder for a user's data of this application."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "aiplat-lab"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/aiplat-lab").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "aiplat-lab"


def _master_keys() -> Path:
    """The folder of the vaults' master keys: never inside a home, so that a copy of the home alone opens nothing."""
    if own := os.environ.get("AIPLAT_VAULT_KEYS"):
        return Path(own).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", "~")).expanduser() / "aiplat-lab" / "keys"
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "aiplat-lab" / "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment says, read once."""

    home: Home
    gateway: str = ""
    """`AIPLAT_GATEWAY`: the URL of a shared gateway, before `/v1`."""
    key: Secret = field(default_factory=lambda: Secret(""))
    """`AIPLAT_KEY`: a virtual key."""
    attribution: Attribution = field(default_factory=Attribution)
    """`AIPLAT_TEAM`, `AIPLAT_PROJECT`, the user's name, and the notebook where Jupyter says it."""
    headless: bool = False
    """Whether nobody watches: papermill, nbclient or CI (`AIPLAT_HEADLESS`, `CI`)."""


def environment() -> Environment:
    """The environment of this process, as it is now."""
    get = os.environ.get
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    return Environment(
        home=_own_home(),
        gateway=(get("AIPLAT_GATEWAY") or "").rstrip("/"),
        key=Secret(get("AIPLAT_KEY") or ""),
        attribution=Attribution(
            team=get("AIPLAT_TEAM", ""), project=get("AIPLAT_PROJECT", ""), user_id=user, notebook=get("JPY_SESSION_NAME", "")
        ),
        headless=any(get(name, "").lower() not in {"", "0", "false"} for name in ("AIPLAT_HEADLESS", "CI")),
    )


def enter(home: Home, *, headless: bool = False) -> None:
    """Tells this process and those it starts which home is theirs.

    Args:
        home: the home.
        headless: also that nobody watches.
    """
    os.environ["AIPLAT_HOME"] = str(home.path)
    if headless:
        os.environ["AIPLAT_HEADLESS"] = "1"


def lend(name: str, value: str, *, unless: tuple[str, ...]) -> bool:
    """Sets a variable of this process's environment where none of some is set; gives whether it did."""
    if any(os.environ.get(one) for one in unless):
        return False
    os.environ[name] = value
    return True


def take_back(name: str, value: str) -> None:
    """Unsets a variable that still holds what `lend` gave it."""
    if os.environ.get(name) == value:
        del os.environ[name]


def secret(reference: str) -> Secret:
    """The key that a reference names; called by a provider just before it is sent.

    Args:
        reference: `vault:NAME`, `keyring:NAME`, `env:NAME`, `file:PATH` or `command:PROGRAM …`; an empty text gives an empty secret. The
            vault is the one of the home that the environment names.

    Raises:
        ConfigError: nothing is there; the text says how to put it there and never holds the key.
    """
    if not reference:
        return Secret("")
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(name, "")
        if not value:
            raise ConfigError(f"the key env:{name} is not set in the gateway's environment: export {name}, then run `aiplat stop`")
        return Secret(value)
    if scheme == "file":
        try:
            return Secret(Path(name).expanduser().read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the key file:{name} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    if scheme == "vault":
        return _own_home().vault.get(name)
    if scheme == "keyring":
        return _from_keyring(name)
    if scheme == "command":
        return _from_command(name)
    raise ConfigError("a key must be a reference: vault:NAME, keyring:NAME, env:NAME, file:PATH or command:PROGRAM …")


def present(reference: str) -> bool:
    """Whether a key's reference leads somewhere, as far as that is quick to tell: nothing slow is asked, and the vault not opened."""
    scheme, _, name = reference.partition(":")
    if scheme in {"keyring", "command"}:
        return True
    try:
        if scheme == "vault":
            return any(entry.name == name for entry in _own_home().vault.entries())
        secret(reference)
    except ConfigError:
        return False
    return True


def open_key_files(settings: Settings) -> list[str]:
    """The files of provider keys that others can read, each as a warning."""
    found = []
    for name, provider in settings.providers.items():
        scheme, _, path = provider.api_key.partition(":")
        if scheme == "file" and sys.platform != "win32":
            try:
                mode = Path(path).expanduser().stat().st_mode & 0o777
            except OSError:
                continue  # told when it is wanted
            if mode & 0o077:
                found.append(f"others can open the key file of providers.{name}, {path} (mode {mode:03o}): run `chmod 600 {path}`")
    return found


def given(name: str) -> Secret:
    """A variable of this process's environment that holds a secret; empty where it is not set."""
    return Secret(os.environ.get(name, ""))


def _own_home() -> Home:
    return Home(Path(os.environ.get("AIPLAT_HOME") or data_folder()).expanduser().absolute())


def _keyring() -> tuple[Any, type[Exception]]:  # Any: an optional library, wanted for this kind of reference alone
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise ConfigError("the system's keyring needs the package keyring: pip install keyring") from None
    return keyring, KeyringError


def _from_command(line: str) -> Secret:
    """What a command prints, run without a shell; its own words go into no error, since they may hold the key."""
    try:
        words = shlex.split(line)
        if not words:
            raise ConfigError("the key command: names no program; write command:PROGRAM ARGUMENTS")
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_S, check=False)  # noqa: S603
    except ValueError as error:
        raise ConfigError(f"the key command: cannot be read ({error}); quote it as for a shell") from None
    except OSError as error:
        raise ConfigError(f"the key's command {words[0]} cannot be run: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        said = f"gave nothing within {_COMMAND_S:g} s; run it by hand and see what it waits for"
        raise ConfigError(f"the key's command {words[0]} {said}") from None
    value = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode or not value:
        why = f"failed with exit code {done.returncode}" if done.returncode else "printed nothing"
        raise ConfigError(f"the key's command {words[0]} {why}; run it by hand as the gateway's user (are you still logged in?)")
    return Secret(value)


def _from_keyring(name: str) -> Secret:
    keyring, failure = _keyring()
    try:
        value = keyring.get_password(_SERVICE, name)
    except failure as error:
        raise ConfigError(f"the keyring cannot be read for {name!r}: {error}") from None
    if not value:
        raise ConfigError(f"the keyring has no entry {name!r}: run `keyring set {_SERVICE} {name}`, or `aiplat keys adopt --to keyring`")
    return Secret(value)


def keep_in_keyring(name: str, value: Secret) -> bool:
    """Keeps a provider key in the system's keyring; gives whether there was one of that name.

    Raises:
        ConfigError: there is no keyring, or it keeps nothing.
    """
    keyring, failure = _keyring()
    try:
        known = bool(keyring.get_password(_SERVICE, name))
        keyring.set_password(_SERVICE, name, value.reveal())
        kept = keyring.get_password(_SERVICE, name) == value.reveal()
    except (failure, RuntimeError) as error:
        raise ConfigError(f"the keyring did not take the key {name!r}: {type(error).__name__}; leave out --to keyring") from None
    if not kept:
        raise ConfigError(f"the keyring did not keep the key {name!r}; leave out --to keyring")
    return known


def forget_in_keyring(name: str) -> None:
    """Takes a provider key out of the system's keyring.

    Raises:
        ConfigError: there is no keyring, or no such key in it.
    """
    keyring, failure = _keyring()
    try:
        keyring.delete_password(_SERVICE, name)
    except (failure, RuntimeError) as error:
        raise ConfigError(f"the keyring has no entry {name!r} that can be removed: {type(error).__name__}") from None


def dotenv(path: Path, name: str) -> tuple[Secret, int]:
    """What a `.env` file sets a variable to, and the number of the line; an empty secret and 0 where it does not.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    found, where = "", 0
    for number, line in enumerate(lines, 1):
        before, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and before.strip() == name:
            found, where = _unquoted(value.strip()), number
    return Secret(found), where


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()


def shipped(*parts: str) -> Path:
    """A file that comes with the package: `shipped("notebooks", "quickstart.ipynb")`.

    Installed, these lie inside the package; in a checkout, beside it.
    """
    package = Path(__file__).resolve().parents[2]
    inside = package / "_shipped" / Path(*parts)
    return inside if inside.exists() else package.parent / Path(*parts)
