"""A real kernel, asked as a front end asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager


class Kernel:
    """A kernel, asked as a front end asks it."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=env, cwd=str(cwd))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, code: str, *, cell_id: str = "", allow_stdin: bool = True) -> str:
        session = self.client.session
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": True,
        }
        message = session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell_id}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def messages(self, sent: str, timeout_s: float = 30.0) -> Iterator[tuple[float, str, dict[str, Any]]]:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=timeout_s)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            yield time.monotonic(), kind, content
            if kind == "status" and content["execution_state"] == "idle":
                return
        raise AssertionError("the cell did not end")

    def reply(self, sent: str) -> dict[str, Any]:
        while True:
            message = self.client.get_shell_msg(timeout=30)
            if message["parent_header"].get("msg_id") == sent:
                return dict(message["content"])

    def run(self, code: str, **options: Any) -> list[tuple[float, str, dict[str, Any]]]:
        sent = self.send(code, **options)
        seen = [one for one in self.messages(sent) if one[1] not in {"status", "execute_input"}]
        self.reply(sent)
        return seen


def shown(seen: list[tuple[float, str, dict[str, Any]]]) -> list[tuple[float, str, dict[str, Any]]]:
    return [one for one in seen if one[1] in {"display_data", "update_display_data"}]
