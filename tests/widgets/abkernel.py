"""A kernel, driven as JupyterLab drives it: cells on the shell, a control's messages on a shell of their own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

VIEW = "application/vnd.jupyter.widget-view+json"
Message = dict[str, Any]


class Kernel:
    """A kernel and every message that it has published."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=env, cwd=str(cwd))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.seen: list[tuple[float, Message]] = []
        self.subshell: str | None = None
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        self._closed = True
        self._reader.join(5)
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def _read(self) -> None:
        while not self._closed:
            try:
                self.seen.append((time.time(), self.client.get_iopub_msg(timeout=0.2)))
            except Empty:
                continue

    def wait(self, found: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            value = found()
            if value:
                return value
            time.sleep(0.005)
        raise AssertionError(f"nothing came of {len(self.seen)} messages: {[m['msg_type'] for _, m in self.seen][-20:]}")

    def send(self, code: str) -> str:
        return str(self.client.execute(code, allow_stdin=True))

    def done(self, sent: str) -> bool:
        return any(
            message["msg_type"] == "status"
            and message["content"]["execution_state"] == "idle"
            and message["parent_header"].get("msg_id") == sent
            for _, message in list(self.seen)
        )

    def run(self, code: str) -> list[Message]:
        """Runs a cell to its end; gives what it published."""
        sent = self.send(code)
        self.wait(lambda: self.done(sent))
        found = [message for _, message in list(self.seen) if message["parent_header"].get("msg_id") == sent]
        errors = [message["content"]["evalue"] for message in found if message["msg_type"] == "error"]
        assert not errors, errors
        return found

    def own_shell(self) -> None:
        """A shell for the control's messages, as JupyterLab makes one."""
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        reply = self.client.get_control_msg(timeout=10)
        self.subshell = reply["content"]["subshell_id"]

    def tell(self, comm: str, content: Message) -> float:
        """Sends a message of the browser to a control; gives the time."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}})
        if self.subshell:
            message["header"]["subshell_id"] = self.subshell
        at = time.time()
        self.client.shell_channel.send(message)
        return at

    def heard(self, comm: str) -> list[tuple[float, Message]]:
        """What a control was sent, as the browser gets it."""
        return [
            (at, message["content"]["data"]["content"])
            for at, message in list(self.seen)
            if message["msg_type"] == "comm_msg"
            and message["content"]["comm_id"] == comm
            and message["content"]["data"].get("method") == "custom"
        ]


def control_of(messages: list[Message]) -> str:
    """The id of the control that a cell has shown."""
    shown = [message["content"]["data"] for message in messages if message["msg_type"] == "display_data"]
    return str(next(data[VIEW]["model_id"] for data in shown if VIEW in data))


def wire_bytes(message: Message) -> int:
    """The size of a message on the websocket: its four parts, and where each begins."""
    parts = [
        json.dumps(message[part], default=str, ensure_ascii=False).encode() for part in ("header", "parent_header", "metadata", "content")
    ]
    return sum(map(len, parts)) + sum(len(buffer) for buffer in message.get("buffers", ())) + 8 * (len(parts) + 2) + len("iopub")
