"""Where the lean transport cannot be imported, httpx's own does the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from faults import FaultServer

CODE = """
import asyncio, sys, time
sys.modules["httpx_aiohttp"] = None
from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment, Message, Request
from aiplat_lab.providers import _transports
from aiplat_lab.providers.openai import OpenAI
assert not _transports.LEAN

def at(model): return Deployment(provider="acme", model=model, timeout_s=20)
def ask(): return Request(model="m", messages=(Message("user", "one two"),))

async def consume(provider, model):
    async with provider.stream(ask(), at(model)) as chunks:
        return "".join([chunk.text async for chunk in chunks])

async def main(url):
    settings = dict(kind="openai", api_key="env:TEST_PROVIDER_KEY", read_timeout_s=0.5)
    provider = OpenAI("acme", ProviderSettings(base_url=url, **settings))
    assert (await provider.chat(ask(), at("echo"))).text == "one two"
    assert await consume(provider, "echo") == "one two"
    for model, reason in (("cut-stream", "cut_off"), ("hang", "timeout"), ("bad-json", "bad_reply"), ("status-500", "unavailable")):
        try:
            await consume(provider, model)
        except ProviderError as error:
            assert error.reason == reason, (model, error.reason, error.message)
        else:
            raise AssertionError(model)
    task = asyncio.create_task(consume(provider, "endless-stream"))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    await asyncio.sleep(0.3)
    await provider.aclose()
    nobody = OpenAI("acme", ProviderSettings(base_url="http://127.0.0.1:9", **settings))
    try:
        await nobody.chat(ask(), at("echo"))
    except ProviderError as error:
        assert error.reason == "unavailable" and "127.0.0.1:9" in error.message, error.message
    await nobody.aclose()

asyncio.run(main(sys.argv[1]))
"""


def test_the_same_without_the_lean_transport(upstream: FaultServer) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CODE, upstream.openai_url], capture_output=True, text=True, cwd=root, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert upstream.wait_for(lambda: not upstream.open_requests)
    assert len(upstream.disconnects) == 2  # the one that hung and the one that had no end
