"""Widgets in the real JupyterLab: what Python changes is drawn, what the reader changes arrives in Python."""

import os
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

CELLS = {
    "conv_explorer": (
        "import cnnlab\nfrom cnnlab.widgets import ConvExplorer\n\ncnnlab.setup('ko')\n"
        "widget = ConvExplorer()\nwidget",
        "widget.weight = [[0, 0], [0, 2]]",
        "print('row', widget.row, 'col', widget.col, 'x', widget.x[0])",
    ),
    "padding_explorer": (
        "import cnnlab\nfrom cnnlab.widgets import PaddingExplorer\n\ncnnlab.setup('ja')\n"
        "widget = PaddingExplorer()\nwidget",
        "widget.stride = 2",
        "print('stride', widget.stride, 'padding', widget.padding)",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lab")
    for name, cells in CELLS.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
        notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        nbformat.write(notebook, made / f"{name}.ipynb")
    return made


@pytest.fixture(scope="module")
def lab(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab of its own, with nobody's settings."""
    home, token = tmp_path_factory.mktemp("home"), secrets.token_hex(16)
    log = home / "log"
    settings = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, **settings, "HOME": str(home)}, cwd=home
        )
    try:
        yield _address(server, log, token)
    finally:
        server.terminate()
        server.wait(60)


def _address(server: subprocess.Popen, log: Path, token: str) -> str:
    for _ in range(240):
        said = log.read_text(errors="replace")
        found = [part for part in said.split() if part.startswith("http://127.0.0.1:")]
        if found:
            root = found[0].split("/lab")[0] + "/"
            try:
                urllib.request.urlopen(f"{root}api/status?token={token}", timeout=10).close()
                # With a workspace each, or the second notebook would come up beside the first one.
                return f"{root}lab/workspaces/{{0}}/tree/{{0}}.ipynb?token={token}"
            except urllib.error.URLError:
                pass
        assert server.poll() is None, said
        time.sleep(0.5)
    raise AssertionError(said)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(90_000)
    expect.set_options(timeout=90_000)
    opened = context.new_page()
    opened.troubles = []
    opened.on("pageerror", lambda error: opened.troubles.append(str(error)))
    yield opened
    context.close()


def run(page: Page, number: int) -> None:
    """Run a cell, as a reader does: again, where JupyterLab was still busy and has not noticed."""
    cell = page.locator(".jp-CodeCell").nth(number)
    prompt = cell.locator(".jp-InputPrompt")
    for _ in range(10):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        try:
            expect(prompt).not_to_have_text(re.compile(r"\[ ?\]:"), timeout=5_000)
            return
        except AssertionError:
            continue
    raise AssertionError(f"cell {number} does not run: {prompt.inner_text()}")


def open_and_show(page: Page, lab: str, name: str) -> None:
    page.goto(lab.format(name))
    page.wait_for_selector(".jp-CodeCell")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    run(page, 0)
    page.wait_for_selector(".cw .cw-window")


def printed(page: Page) -> str:
    run(page, 2)
    output = page.locator(".jp-CodeCell").nth(2).locator(".jp-OutputArea-output")
    expect(output).to_be_visible()
    return output.inner_text().strip()


def test_convolution_explorer_is_in_step_with_python(page: Page, lab: str) -> None:
    open_and_show(page, lab, "conv_explorer")
    expect(page.locator(".cw-title")).to_have_text("창을 움직여 곱하고 더하기")
    expect(page.locator(".cw-role-filter input")).to_have_count(9)
    run(page, 1)
    expect(page.locator(".cw-role-filter input")).to_have_count(4)
    expect(page.locator(".cw-ou")).to_have_text("2")  # twice the pixel at (1, 1)
    page.locator(".cw-window").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".cw-ou")).to_have_text("2")  # twice the pixel at (2, 2)
    cell = page.locator(".cw-role-input input").first
    cell.fill("7")
    cell.press("Enter")
    assert printed(page) == "row 1 col 1 x [7, 0, 2, 1]"
    assert page.troubles == []


def test_padding_explorer_is_in_step_with_python(page: Page, lab: str) -> None:
    open_and_show(page, lab, "padding_explorer")
    stride = page.locator('.cw input[data-trait="stride"]')
    expect(stride).to_have_value("1")
    run(page, 1)
    expect(stride).to_have_value("2")
    page.locator('.cw input[data-trait="padding"]').focus()
    page.keyboard.press("End")
    most = page.locator('.cw input[data-trait="padding"]').get_attribute("max")
    assert printed(page) == f"stride 2 padding {most}"
    assert page.troubles == []
