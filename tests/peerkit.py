"""The real LiteLLM proxy, Portkey gateway and jupyter-ai, each in a process of its own: never a dependency, only something to talk to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LITELLM = "litellm[proxy]==1.106.2"
PORTKEY = "@portkey-ai/gateway@1.15.2"
JUPYTER_AI = {"jupyterai2": ("jupyter-ai==2.31.7", "langchain-openai", "openai"), "jupyterai3": ("jupyter-ai-magic-commands==0.0.4",)}
"""The magics of jupyter-ai in both dialects, each with what it needs for an endpoint of OpenAI's wire."""
LITELLM_KEY = "sk-peer-master-0123456789"
UPSTREAM_KEY = "upstream-key-0123456789"
CACHE = Path("~/.cache/aiplat-tests/peers").expanduser()
_LITELLM_CONFIG = """\
model_list:
{models}
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
"""
_MODEL = """\
  - model_name: {name}
    litellm_params:
      model: openai/{name}
      api_base: {url}/v1
      api_key: {key}
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def litellm_venv(folder: Path = CACHE) -> Path:
    """A virtual environment of its own with the LiteLLM proxy in it, made when it is not there."""
    venv = folder / "litellm"
    if not (venv / "bin" / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "-q", LITELLM], check=True)
    return venv


def kernel_venv(name: str, folder: Path = CACHE) -> Path:
    """The Python of a virtual environment with a kernel and a peer's magics in it; `bare` has the kernel alone."""
    venv = folder / name
    python = venv / "bin" / "python"
    done = venv / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "ipykernel", *JUPYTER_AI.get(name, ())], check=True)
        done.touch()
    return python


def portkey_folder(folder: Path = CACHE) -> Path:
    """A folder with the Portkey gateway in it, made when it is not there."""
    where = folder / "portkey"
    if not (where / "node_modules" / "@portkey-ai" / "gateway" / "build").exists():
        where.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", where, PORTKEY], check=True)
    return where


@contextmanager
def litellm(venv: Path, upstream: str, models: Sequence[str], folder: Path, *, key: str = UPSTREAM_KEY) -> Iterator[tuple[str, int]]:
    """A LiteLLM proxy with these models of an upstream, one worker, no database; its address and process."""
    config = folder / "litellm.yaml"
    entries = "".join(_MODEL.format(name=name, url=upstream, key=key) for name in models)
    config.write_text(_LITELLM_CONFIG.format(models=entries.rstrip("\n"), key=LITELLM_KEY))
    port = free_port()
    words = [str(venv / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with _process(words, f"http://127.0.0.1:{port}", "/health/liveliness", folder / "litellm.log", wait_s=240) as pid:
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def portkey(where: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """A Portkey gateway; which upstream it speaks to stands in each request's headers."""
    port = free_port()
    script = where / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    words = ["node", str(script), f"--port={port}", "--headless"]
    with _process(words, f"http://127.0.0.1:{port}", "/", folder / "portkey.log", wait_s=60) as pid:
        yield f"http://127.0.0.1:{port}", pid


def portkey_headers(upstream: str) -> dict[str, str]:
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream}/v1"}


@contextmanager
def _process(words: Sequence[str], url: str, path: str, log: Path, *, wait_s: float) -> Iterator[int]:
    """A process that answers at `url`, and is ended after."""
    about = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DATABASE_URL"}}
    about |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with log.open("w") as out:
        process = subprocess.Popen(list(words), stdout=out, stderr=subprocess.STDOUT, env=about)
        try:
            end = time.monotonic() + wait_s
            while not _answers(url + path):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{words[0]} did not come up: {log.read_text()[-2000:]}")
                time.sleep(0.2)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
