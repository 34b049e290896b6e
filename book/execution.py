"""Runs the chapters and keeps their outputs, so that a chapter runs again only if something that it shows
may have changed.

The outputs lie in a `jupyter_cache` that MyST-NB reads when it builds the pages. A cache belongs to one
*state*: the sources of `cnnlab`, the versions of the packages, and which data sets are on this machine. In
it, a notebook is found by the code of its cells.
"""

import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_TIMEOUT = 600  # seconds
STATES_KEPT = 4
# Chapters that run side by side. Their networks are small, so threads gain little by waiting for each other:
# two chapters with one thread each are done sooner than one after the other with two.
JOBS = min(2, os.cpu_count() or 1)
UNSEEN = "grading/"  # no chapter uses the grader
SCRIPTS = {".mjs", ".css", ".bin"}  # of widgets: a page loads them, no output holds them
PACKAGES = (
    "anywidget",
    "array-api-compat",
    "ipykernel",
    "matplotlib",
    "numpy",
    "pillow",
    "scikit-learn",
    "torch",
    "torchvision",
    "tqdm",
)


@dataclass(frozen=True)
class Chapter:
    """A notebook in one language."""

    language: str
    path: Path

    @property
    def name(self) -> str:
        return f"{self.language}/{self.path.stem}"


@dataclass(frozen=True)
class Failure:
    """A cell that did not run."""

    chapter: Chapter
    cell: str
    error: str

    def __str__(self) -> str:
        return f"{self.chapter.name}, cell {self.cell!r}: {self.error}"


def package_folder() -> Path | None:
    """Where `cnnlab` lies, without importing it."""
    spec = util.find_spec("cnnlab")
    return Path(spec.origin).parent if spec and spec.origin else None


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    )


def data_state() -> list[str]:
    """Names and sizes of the files of data sets that the chapters would find."""
    if util.find_spec("cnnlab") and util.find_spec("cnnlab.data"):
        from cnnlab.data import data_folder

        folder = data_folder()
    else:
        folder = Path(os.environ.get("CNNLAB_DATA", "data"))
    if not folder.is_dir():
        return []
    return [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in _files(folder)]


def state() -> str:
    """Name of everything outside a notebook that its outputs depend on."""
    digest = hashlib.sha256()
    digest.update(f"{platform.python_version()} {platform.machine()}\n".encode())
    for name in PACKAGES:
        version = metadata.version(name) if util.find_spec(name.replace("-", "_")) else "none"
        digest.update(f"{name} {version}\n".encode())
    package = package_folder()
    for path in _files(package) if package else []:
        name = path.relative_to(package).as_posix()
        if not name.startswith(UNSEEN) and path.name != "grading.toml" and path.suffix not in SCRIPTS:
            digest.update(name.encode() + b"\0" + path.read_bytes())
    digest.update("\n".join(data_state()).encode())
    return digest.hexdigest()[:16]


def cache_folder(build: Path, name: str) -> Path:
    """The folder of the cache of a state; caches that have not been used for long are removed."""
    base = build / "executed"
    folder = base / name
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    others = sorted(
        (path for path in base.iterdir() if path != folder), key=lambda path: path.stat().st_mtime
    )
    for path in others[: max(0, len(others) - STATES_KEPT + 1)]:
        shutil.rmtree(path, ignore_errors=True)
    return folder


class _OwnKernel(AsyncKernelManager):
    """Starts the kernel of the running interpreter, whatever kernels are installed on the machine."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.kernel_spec_manager = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)


class Progress:
    """Counts the cells of a chapter: a line every ten seconds; alone in a terminal, one that is renewed."""

    def __init__(self, chapter: Chapter, cells: int, jobs: int) -> None:
        self.chapter, self.cells = chapter, cells
        self.start = self.written = time.monotonic()
        self.live = jobs == 1 and sys.stdout.isatty()
        self._write(f"{chapter.name}: running {cells} cells")

    def _write(self, line: str, end: bool = False) -> None:
        self.written = time.monotonic()
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + f"  {line}"[:width].ljust(width), end="\n" if end else "", flush=True)
        else:
            print(f"  {line}\n", end="", flush=True)

    def cell(self, number: int, name: str) -> None:
        if self.live or time.monotonic() - self.written > 10:
            self._write(f"{self.chapter.name}: cell {number} of {self.cells}, {name}")

    def done(self, result: str) -> None:
        self._write(f"{self.chapter.name}: {result} after {time.monotonic() - self.start:.1f} s", end=True)


def _short(error: BaseException) -> str:
    """What went wrong in a cell, in one line."""
    if isinstance(error, CellTimeoutError):
        return f"not done after {CELL_TIMEOUT} s"
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {error}"


def run(chapter: Chapter, jobs: int = 1) -> tuple[nbformat.NotebookNode, Failure | None]:
    """Run a chapter in an empty folder, as a reader in Colab does, while `jobs` of them share the machine."""
    notebook = nbformat.read(chapter.path, nbformat.NO_CONVERT)
    codes = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    progress = Progress(chapter, len(codes), jobs)
    current = {"cell": "(start of the kernel)"}

    def show(cell: nbformat.NotebookNode, cell_index: int, **_: object) -> None:
        if cell_index in codes:
            current["cell"] = cell.get("id", str(cell_index))
            progress.cell(codes.index(cell_index) + 1, current["cell"])

    failure = None
    with tempfile.TemporaryDirectory(prefix="chapter-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "IPYTHONDIR": str(Path(folder, ".ipython")), "MPLBACKEND": "agg"}
        if jobs > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
        if environment.get("CNNLAB_DATA"):  # may be relative to where the build was started
            environment["CNNLAB_DATA"] = os.path.abspath(os.path.expanduser(environment["CNNLAB_DATA"]))
        work = Path(folder, "work")
        work.mkdir()
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            kernel_manager_class=_OwnKernel,
            resources={"metadata": {"path": str(work)}},
            record_timing=False,  # it would become part of what the cache compares
            extra_arguments=["--log-level=40"],
            on_cell_start=show,
        )
        try:
            client.execute(env=environment)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = Failure(chapter, current["cell"], _short(error))
    progress.done("failed" if failure else "done")
    _leave_out_widgets(notebook)
    return notebook, failure


def _leave_out_widgets(notebook: nbformat.NotebookNode) -> None:
    """What needs the kernel goes: progress bars. Of `cnnlab.widgets`, the HTML stays."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found = [(out, out.get("data", {}).pop(WIDGET, None)) for out in cell.outputs]
            cell.outputs = [
                out for out, widget in found if widget is None or "cw-host" in out.data.get("text/html", "")
            ]


def _is_cached(cache: JupyterCacheAbstract, chapter: Chapter) -> bool:
    try:
        cache.match_cache_notebook(nbformat.read(chapter.path, nbformat.NO_CONVERT))
    except KeyError:
        return False
    return True


def run_all(
    chapters: list[Chapter], build: Path, echo: Callable[[str], None] = print
) -> tuple[Path, list[Failure]]:
    """Run those chapters whose outputs are not there, `JOBS` at a time.

    Returns
    -------
    Path
        The folder of the cache.
    list of Failure
        Cells that did not run; the rest of their chapters is not run.
    """
    before = state()
    folder = cache_folder(build, before)
    cache = get_cache(folder)
    cache.change_cache_limit(1000)
    missing = [chapter for chapter in chapters if not _is_cached(cache, chapter)]
    kept = len(chapters) - len(missing)
    echo(f"Chapters: {len(missing)} to run, {kept} unchanged")
    failures = []
    with ThreadPoolExecutor(JOBS) as pool:
        running = {pool.submit(run, chapter, JOBS): chapter for chapter in missing}
        try:
            for done in as_completed(running):
                notebook, failure = done.result()
                if failure is not None:
                    failures.append(failure)
                    continue
                bundle = CacheBundleIn(notebook, str(running[done].path))
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C: no further chapter begins
    # A chapter may have fetched a data set; then its outputs belong to the state that holds from now on.
    after = state()
    if after != before and not failures:
        cache.db.dispose() if hasattr(cache.db, "dispose") else None
        shutil.copytree(folder, build / "executed" / after, dirs_exist_ok=True)
        folder = cache_folder(build, after)
    return folder, failures
