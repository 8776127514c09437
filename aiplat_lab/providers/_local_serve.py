"""The process that computes an embedded text model: llama.cpp's own HTTP server, on loopback and behind a random key.

Run as a script by `_local_worker`. The first line of its input is its configuration, key included, so that no command line
shows it; the rest of its input is a life line: when that ends, so does this process. Its one line of output says where it
listens, or why it cannot.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Serves until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config: dict[str, Any] = json.loads(sys.stdin.readline())  # Any: JSON of our own
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the library prints is no answer
    server, said = _start(config)
    answer.write(json.dumps(said) + "\n")
    answer.flush()
    if server is not None:
        sys.stdin.read()
    os._exit(0)  # the library's threads are not waited for


def _start(config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # Any: an object of the library
    """The server and its address, or None and what went wrong."""
    try:
        import xllamacpp
    except ImportError as error:
        return None, {"error": "import", "missing": error.name or "", "message": str(error)}
    slots, params = int(config["slots"]), xllamacpp.CommonParams()
    params.model.path = config["file"]
    params.model_alias = {config["name"]}
    params.n_parallel = slots
    params.n_ctx = slots * int(config["context_tokens"])
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(config["threads"])
    params.n_gpu_layers = 0  # the same answers on every machine
    params.fit_params = False
    params.cache_ram_mib = 64
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 64  # an idle connection holds one for some seconds; waiting calls must not be kept out
    params.verbosity = 1
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError, OSError) as error:
        return None, {"error": "load", "message": str(error)}
    return server, {"url": server.listening_address}


if __name__ == "__main__":
    main()
