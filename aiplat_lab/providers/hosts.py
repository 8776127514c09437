"""The kinds of provider that speak OpenAI's wire with differences: one class for each row of the table of hosts."""

from __future__ import annotations

from aiplat_lab.core.registry import register
from aiplat_lab.providers._hosts import HOSTS, Host
from aiplat_lab.providers.openai import OpenAI


def _provider(host: Host) -> type[OpenAI]:
    about = {"host": host, "lacks": host.lacks, "__doc__": f"Chat, streams and embeddings of {host.title}, in OpenAI's format."}
    return type(host.kind.capitalize(), (OpenAI,), {**about, "__module__": __name__})


for _host in HOSTS:
    register("provider", _host.kind)(_provider(_host))
