"""What a person does in JupyterLab, in a few words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

IN_FRONT = """name => {
    const { shell } = window.jupyterapp;
    const panel = [...shell.widgets('main')].find(widget => widget.context?.path === name);
    if (panel && shell.currentWidget !== panel) { shell.activateById(panel.id); }
    return panel !== undefined && shell.currentWidget === panel && panel.context.isReady;
}"""
KERNEL_IDLE = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
FRONT_MIMES = "window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.mimeType)"


@dataclass
class Lab:
    """JupyterLab in a browser, with the folder that its notebooks lie in."""

    page: Page
    folder: Path
    shots: Path

    # --- the application ----------------------------------------------------------------------------------------------

    def execute(self, command: str, **args: Any) -> Any:
        """Runs a command of JupyterLab and waits for its end; its result stays in the browser."""
        self.page.evaluate("async ([id, args]) => { await window.jupyterapp.commands.execute(id, args) }", [command, args])

    def clear(self) -> None:
        """Closes every tab without saving, and shows the panel of files; JupyterLab then opens its launcher."""
        self.page.evaluate(
            """async () => {
                const { shell, serviceManager } = window.jupyterapp;
                for (const widget of [...shell.widgets('main')]) {
                    if (widget.context) { widget.context.model.dirty = false; }
                    widget.dispose();
                }
                await serviceManager.sessions.shutdownAll();
                shell.activateById('filebrowser');
            }"""
        )
        self.page.locator(".jp-Launcher").first.wait_for()

    def theme(self, name: str) -> None:
        """Changes the theme to `light` or `dark`."""
        self.execute("apputils:change-theme", theme=f"JupyterLab {name.title()}")
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", "true" if name == "light" else "false")

    def shot(self, name: str) -> None:
        """Keeps a picture of the window."""
        self.page.screenshot(path=self.shots / f"{name}.png")

    # --- notebooks ----------------------------------------------------------------------------------------------------

    def write(self, name: str, *sources: str, outputs: list[Any] | None = None) -> str:
        """Writes a notebook with these code cells; the outputs belong to the last."""
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in sources],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        if outputs is not None:
            book.cells[-1].outputs = outputs
            book.cells[-1].execution_count = 1
        nbformat.write(book, self.folder / name)
        return name

    def open(self, name: str, *, kernel: bool = True) -> Locator:
        """Opens a notebook, and waits for its kernel unless it shall have none."""
        self.execute("docmanager:open", path=name, **({} if kernel else {"kernelPreference": {"shouldStart": False}}))
        notebook = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.page.wait_for_function(IN_FRONT, arg=name)
        notebook.locator(".jp-Cell").first.wait_for()
        if kernel:
            self.page.wait_for_function(KERNEL_IDLE, timeout=60_000)
        return notebook

    def run(self, name: str, *sources: str, wait: bool = True) -> Locator:
        """Opens a new notebook whose first cell loads the magic, and runs all of it."""
        notebook = self.open(self.write(name, "%load_ext aiplat_lab", *sources))
        run_all = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
        if wait:
            self.execute("notebook:run-all-cells")
        else:
            self.page.evaluate(run_all)
        return notebook

    def mimes(self) -> list[str]:
        """The type of each cell of the notebook in front."""
        return list(self.page.evaluate(FRONT_MIMES))

    def source(self, index: int, text: str) -> None:
        """Writes a cell of the notebook in front."""
        place = "window.jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel"
        self.page.evaluate(f"([i, text]) => {place}.setSource(text)", [index, text])

    # --- our own parts ------------------------------------------------------------------------------------------------

    @property
    def panel(self) -> Locator:
        return self.page.locator("#aiplat-panel")

    @property
    def status(self) -> Locator:
        return self.page.locator("#aiplat-status button")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aiplat-Answer")

    @property
    def record(self) -> Locator:
        return self.page.locator("#aiplat-record")

    def open_panel(self) -> Locator:
        """Shows our panel, with the gateway running."""
        self.execute("aiplat:open-panel")
        expect(self.panel).to_contain_text(re.compile("Gateway running"), timeout=20_000)
        return self.panel
