"""Builds the site of the book: runs the chapters, then makes the pages of every language.

    python book/build.py             run what has changed, build, say where to look
    python book/build.py --serve     the same, then show the site on this computer only
    python book/build.py --help

A failing cell, a warning of Sphinx, a broken link or reference fails the build and is named. The site lies
in ``book/_build/html``.
"""

import argparse
import contextlib
import hashlib
import io
import os
import re
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

BOOK = Path(__file__).resolve().parent
sys.path[:0] = [str(BOOK), str(BOOK / "_ext")]

import execution  # noqa: E402
import jinja2  # noqa: E402
import links  # noqa: E402
import yaml  # noqa: E402
from cnnlab_book import languages  # noqa: E402
from cnnlab_book.sections import cell_ids, cell_of_line  # noqa: E402

THEMES = (
    "jupyter-book",
    "sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "pydata-sphinx-theme",
    "math-core",
    "ziamath",
    "fonttools",
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(Exception):
    """The site could not be built; the text says why."""


def stems(root: Path) -> list[str]:
    """Pages in the order of ``_toc.yml``."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: object) -> list[str]:
        if isinstance(node, list):
            return [stem for part in node for stem in files(part)]
        if not isinstance(node, dict):
            return []
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [stem for value in node.values() if isinstance(value, list) for stem in files(value)]

    return files(toc)


def chapters(root: Path, codes: list[str]) -> list[execution.Chapter]:
    """The notebooks of the table of contents. Every language must have every page."""
    found, missing = [], []
    for code in codes:
        for stem in stems(root):
            paths = [root / "notebooks" / code / f"{stem}{suffix}" for suffix in (".ipynb", ".md")]
            here = [path for path in paths if path.exists()]
            if not here:
                missing.append(f"notebooks/{code}/{stem}.ipynb")
            elif here[0].suffix == ".ipynb":
                found.append(execution.Chapter(code, here[0]))
    if missing:
        raise BuildError("_toc.yml names pages that are not there: " + ", ".join(missing))
    return found


def configuration_state(root: Path, cache: Path) -> str:
    """Name of everything besides the chapters that the pages depend on."""
    digest = hashlib.sha256(str(cache).encode())
    for name in THEMES:
        digest.update(f"{name} {metadata.version(name)}\n".encode())
    inputs = [root / "_config.yml", root / "_toc.yml", BOOK / "languages.toml"]
    for folder in ("_ext", "_templates", "_static"):
        inputs += [
            path for path in sorted((BOOK / folder).rglob("*")) if path.is_file() and path.suffix != ".pyc"
        ]
    inputs += sorted(BOOK.glob("*.py"))
    package = execution.package_folder()
    inputs += (
        [path for path in sorted(package.rglob("*")) if path.suffix in execution.SCRIPTS] if package else []
    )
    for path in inputs:
        digest.update(path.name.encode() + path.read_bytes())
    # Outputs may change while the code of a chapter does not.
    for path in sorted(cache.rglob("*.ipynb")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def site_state(root: Path, codes: list[str], cache: Path) -> str:
    """Name of everything that the site depends on."""
    digest = hashlib.sha256(configuration_state(root, cache).encode())
    for code in codes:
        folder = root / "notebooks" / code
        for path in sorted(
            path for path in folder.rglob("*") if path.is_file() and "_build" not in path.parts
        ):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build_language(root: Path, build: Path, code: str, cache: Path) -> tuple[bool, str]:
    """Make the pages of one language. To be called in a process of its own, since Sphinx keeps its language
    in the process.

    Returns
    -------
    bool
        Whether it went without any warning.
    str
        What Sphinx had to say.
    """
    from jupyter_book.sphinx import build_sphinx

    folder = build / "pages" / code
    html, doctrees, stamp = folder / "html", folder / "doctrees", folder / "state"
    current = configuration_state(root, cache)
    if not stamp.exists() or stamp.read_text() != current or not (html / "index.html").exists():
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        result = build_sphinx(
            str(root / "notebooks" / code),
            str(html),
            path_config=root / "_config.yml",
            noconfig=True,
            confoverrides={
                "latex_individualpages": False,
                "language": code,
                "external_toc_path": str(root / "_toc.yml"),
                "nb_execution_cache_path": str(cache),
                "nitpicky": True,
            },
            doctreedir=str(doctrees),
            warningiserror=True,
            keep_going=True,
        )
    good = result == 0 and (html / "index.html").exists()
    if good:
        stamp.write_text(current)
    else:
        # Sphinx warns about a page only when it reads it, so the next build must read all of them again.
        shutil.rmtree(doctrees, ignore_errors=True)
    return good, said.getvalue()


def complaints_of(said: str, root: Path) -> list[str]:
    """The warnings and errors in what Sphinx said, with the cell instead of MyST-NB's line number."""
    found = []
    for line in ANSI.sub("", said).splitlines():
        if not re.search(r"WARNING|ERROR|CRITICAL|[Ee]rror:", line):
            continue
        match = re.match(r"(.*?\.ipynb):(\d+):\s*(.*)", line)
        if match:
            ids, position = cell_ids(Path(match[1])), cell_of_line(int(match[2]))
            cell = f", cell {ids[position]!r}" if position is not None and position < len(ids) else ""
            line = f"{match[1]}{cell}: {match[3]}"
        found.append(line.replace(str(root / "notebooks") + os.sep, ""))
    return found


def write_landing(root: Path, site: Path) -> None:
    """The page that offers the languages."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    base = (config.get("html") or {}).get("baseurl") or ""
    template = (BOOK / "_templates" / "landing.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(template).render(
        languages=languages.load(), base=base and base.rstrip("/") + "/"
    )
    site.mkdir(parents=True, exist_ok=True)
    (site / "index.html").write_text(page + "\n", encoding="utf-8", newline="\n")
    (site / ".nojekyll").touch()


def build(root: Path) -> Path:
    """Build everything that has changed; returns the folder of the site.

    Raises
    ------
    BuildError
        With one line for each thing that is wrong.
    """
    codes = list(languages.load())
    folder = root / "book" / "_build"
    cache, failures = execution.run_all(chapters(root, codes), folder)
    if failures:
        raise BuildError("\n".join(str(failure) for failure in failures))
    site, stamp = folder / "html", folder / "site.state"
    current = site_state(root, codes, cache)
    if site.exists() and stamp.exists() and stamp.read_text() == current:
        print("Pages: unchanged", flush=True)
        return site
    stamp.unlink(missing_ok=True)
    print("Pages: " + ", ".join(codes), flush=True)
    with ProcessPoolExecutor(len(codes), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(partial(build_language, root, folder), codes, [cache] * len(codes)))
    wrong = []
    for code, (good, said) in zip(codes, results):
        if not good:
            last_lines = "\n".join(ANSI.sub("", said).strip().splitlines()[-12:])
            wrong += complaints_of(said, root) or [f"{code}: Sphinx failed:\n{last_lines}"]
    if wrong:
        raise BuildError("\n".join(dict.fromkeys(wrong)))
    new = folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    for code in codes:
        shutil.copytree(folder / "pages" / code / "html", new / code)
    write_landing(root, new)
    wrong = links.check(new)
    if wrong:
        raise BuildError("\n".join(wrong))
    shutil.rmtree(site, ignore_errors=True)
    new.rename(site)
    stamp.write_text(current)
    return site


def serve(site: Path, port: int) -> None:
    """Show the site to this computer only, until Ctrl-C."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(site))) as server:
        print(f"http://localhost:{server.server_port}/  (Ctrl-C stops)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python book/build.py", description="Build the site of the book.")
    parser.add_argument(
        "--root", type=Path, default=BOOK.parent, help="folder with _config.yml and notebooks/"
    )
    parser.add_argument(
        "--serve", nargs="?", type=int, const=8000, metavar="PORT", help="then show it (8000)"
    )
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    start = time.monotonic()
    try:
        site = build(options.root.resolve())
    except BuildError as error:
        print(f"\nThe book was not built:\n{error}", file=sys.stderr)
        return 1
    print(f"Built in {time.monotonic() - start:.0f} s. Open {site / 'index.html'}")
    if options.serve is not None:
        serve(site, options.serve)
    return 0


if __name__ == "__main__":
    sys.exit(main())
