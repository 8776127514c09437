"""Executes a notebook with papermill, within a time and an output size, and keeps a failed one aside."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError

from aiplat_lab.core.errors import ReportError, redact, shorten
from aiplat_lab.core.light import LEAVE_OUT_GRAMMARS

_ENGINE = "aiplat-limited"
_SMALL = frozenset({"status", "execute_input"})
_START_S = 60
"""The longest that a kernel may take to start."""


class _OutputTooLarge(Exception):
    """The outputs of a notebook passed their limit."""


class _LimitedClient(PapermillNotebookClient):  # type: ignore[misc]  # papermill comes without types
    """A client that ends the run when the notebook's outputs pass a size."""

    most_bytes: int = 0
    _seen_bytes: int = 0

    def process_message(self, msg: dict[str, Any], *args: Any, **options: Any) -> Any:  # Any: nbclient's messages
        """Counts a message before it is kept: printed text, displays and their updates, and what widgets send."""
        if msg["header"]["msg_type"] not in _SMALL:
            self._seen_bytes += len(json.dumps(msg["content"], default=str)) + sum(len(part) for part in msg.get("buffers") or ())
        if self._seen_bytes > self.most_bytes:
            self._kill_kernel()  # nbclient looks at what is raised here only when the cell ends, which a flood never does
            raise _OutputTooLarge
        return super().process_message(msg, *args, **options)

    @property
    def flooded(self) -> bool:
        """Whether the outputs passed the size."""
        return self._seen_bytes > self.most_bytes

    def _kill_kernel(self) -> None:
        process = getattr(getattr(self.km, "provisioner", None), "process", None)
        if process is not None:
            process.kill()


_KERNEL = [
    "--IPKernelApp.log_level=CRITICAL",  # its remarks on plain TCP and its own end concern no reader
    f"--IPKernelApp.exec_lines={LEAVE_OUT_GRAMMARS}",
]


class _LimitedEngine(Engine):  # type: ignore[misc]  # papermill comes without types
    """Papermill's engine with one deadline for the whole notebook and a cap on its outputs."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:  # Any: as papermill calls it
        """Runs the cells."""
        deadline = time.monotonic() + options["limit_s"]
        client = _LimitedClient(
            nb_man,
            kernel_name=kernel_name,
            startup_timeout=max(1, min(_START_S, int(options["limit_s"]))),
            shutdown_kernel="immediate",  # one that hangs would not answer a request
            extra_arguments=_KERNEL,
            timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
            resources={"metadata": {"path": options["folder"]}},
        )
        client.most_bytes = options["most_bytes"]
        try:
            client.execute()
        except DeadKernelError:
            if client.flooded:
                raise _OutputTooLarge from None
            raise


papermill_engines.register(_ENGINE, _LimitedEngine)


def execute(notebook: Path, output: Path, *, parameters: Mapping[str, Any], folder: Path, timeout_s: float, max_output_mb: int) -> None:
    """Executes `notebook` into `output`.

    Args:
        notebook: the notebook to execute; it is not changed.
        output: where the executed one is written.
        parameters: values for the cell tagged `parameters`.
        folder: the kernel's working folder.
        timeout_s: seconds for the whole notebook.
        max_output_mb: the most that its outputs may hold together, in megabytes.

    Raises:
        ReportError: a cell failed, the time was over, the outputs grew too large, the kernel died, the disk is full, the run
            was ended from outside, or the notebook cannot be read. The notebook as far as it got lies beside `output`, with
            `.failed` in its name, and `output` is not there.
    """
    if not notebook.is_file():
        raise ReportError(f"there is no notebook {notebook}")
    output.parent.mkdir(parents=True, exist_ok=True)
    running = output.with_suffix(".failed.ipynb")
    try:
        papermill.execute_notebook(
            notebook,
            running,
            parameters=dict(parameters),
            engine_name=_ENGINE,
            kernel_name="python3",
            progress_bar=sys.stderr.isatty(),
            limit_s=timeout_s,
            most_bytes=max_output_mb * 1_000_000,
            folder=str(folder),
        )
    except PapermillExecutionError as error:
        raise ReportError(
            f"cell {error.exec_count} of {notebook.name} failed: {error.ename}: {shorten(redact(error.evalue), 400)}; see {running}"
        ) from None
    except CellTimeoutError:
        raise ReportError(f"{notebook.name} took longer than {timeout_s:.0f} s (reports.timeout_s in aiplat.toml); see {running}") from None
    except _OutputTooLarge:
        raise ReportError(
            f"{notebook.name} wrote more than {max_output_mb} MB of output (reports.max_output_mb in aiplat.toml); see {running}"
        ) from None
    except (PapermillException, DeadKernelError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise ReportError(f"{notebook.name} cannot be executed: {shorten(str(error), 400)}") from None
    except RuntimeError as error:  # nbclient, for a kernel that does not come up
        raise ReportError(f"{notebook.name} cannot be executed: {shorten(str(error), 400)}; see {running}") from None
    except OSError as error:
        raise ReportError(f"{notebook.name} cannot be written: {error.strerror or error}; see {running}") from None
    except KeyboardInterrupt:
        raise ReportError(f"{notebook.name} was ended from outside before it was done; see {running}") from None
    running.replace(output)
