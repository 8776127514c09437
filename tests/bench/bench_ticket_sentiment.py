"""Accuracy of two prompts on evalsets/ticket-sentiment, with the embedded model and its siblings.

Run: python tests/bench/bench_ticket_sentiment.py
"""

from __future__ import annotations

import asyncio
import json

from aiplat_lab.core.settings import ProviderSettings, shipped
from aiplat_lab.core.types import Deployment, Message, Request
from aiplat_lab.providers.local import Local

LABELS = {"positive", "negative"}


async def main() -> None:
    folder = shipped("evalsets", "ticket-sentiment")
    samples = [json.loads(line) for line in (folder / "data.jsonl").read_text("utf-8").splitlines()]
    prompts = json.loads((folder / "prompts.json").read_text("utf-8"))
    provider = Local("local", ProviderSettings(kind="local", region="local"))
    for model in ("smollm2", "smollm2-lite", "smollm2-broken"):
        for name, prompt in prompts.items():
            right = 0
            for sample in samples:
                message = Message("user", prompt["text"].replace("{input}", sample["input"]))
                request = Request(model=model, messages=(message,), settings=prompt["settings"])
                answer = (await provider.chat(request, Deployment(provider="local", model=model))).text.lower()
                right += {label for label in LABELS if label in answer} == {sample["target"]}
            print(f"{model:15} {name:20} {right} of {len(samples)}", flush=True)
    await provider.aclose()


if __name__ == "__main__":
    asyncio.run(main())
