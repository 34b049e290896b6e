"""Runs the notebooks again and writes them back clean, so that a run on another machine changes nothing.

    python book/notebooks.py                                       all of them
    python book/notebooks.py notebooks/ja/10_simple_cnn.ipynb      only this one
    python book/notebooks.py --check                               run nothing, say what is not clean

What stays of a run: the numbers of the cells and what they say in text. What goes: image bytes, widgets,
standard error (progress bars), the outputs of cells tagged ``nbval-ignore-output``, tracebacks, and all that
names a machine or a version. A notebook in which a cell fails keeps the file that it has.
"""

from __future__ import annotations

import argparse
import ast
import copy
import io
import os
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
IGNORED = "nbval-ignore-output"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGETS = (
    "application/vnd.jupyter.widget",
    "application/vnd.jupyter.widget-view+json",
)  # their ids are random


def clean_output(output: NotebookNode, number: int | None) -> NotebookNode | None:
    """What is kept of one output of the cell with this number, or None."""
    if output.output_type == "stream":
        return (
            None
            if output.name == "stderr"
            else nbformat.v4.new_output("stream", name="stdout", text=output.text)
        )
    if output.output_type == "error":
        # The traceback holds paths of the machine; nbval does not compare it.
        return nbformat.v4.new_output("error", ename=output.ename, evalue=output.evalue)
    data = {kind: value for kind, value in output.data.items() if not kind.startswith(("image/", *WIDGETS))}
    if not data:
        return None
    count = {"execution_count": number} if output.output_type == "execute_result" else {}
    return nbformat.v4.new_output(output.output_type, data=data, **count)


def clean_outputs(cell: NotebookNode) -> list[NotebookNode]:
    """What is kept of the outputs of a code cell; what it prints piece by piece becomes one text."""
    if IGNORED in cell.metadata.get("tags", []):
        return []
    kept: list[NotebookNode] = []
    for output in cell.outputs:
        new = clean_output(output, cell.execution_count)
        if new is None:
            continue
        if kept and new.output_type == kept[-1].output_type == "stream":
            kept[-1].text += new.text
        else:
            kept.append(new)
    return kept


def clean(notebook: NotebookNode) -> NotebookNode:
    """A clean copy of a notebook."""
    cells = []
    for cell in notebook.cells:
        new = NotebookNode(cell_type=cell.cell_type, id=cell.id, source=cell.source, metadata=NotebookNode())
        if cell.metadata.get("tags"):
            new.metadata.tags = list(cell.metadata.tags)
        if "nbgrader" in cell.metadata:  # the cell whose value is the score
            new.metadata.nbgrader = copy.deepcopy(cell.metadata.nbgrader)
        if cell.cell_type == "code":
            new.execution_count = cell.execution_count
            new.outputs = clean_outputs(cell)
        elif cell.get("attachments"):
            new.attachments = cell.attachments
        cells.append(new)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def shows_figure(source: str) -> bool:
    """Whether the last thing in a cell is a call of `cnnlab.figures`."""
    try:
        last = ast.parse(source).body[-1]
    except (SyntaxError, IndexError):  # a magic, or nothing
        return False
    return isinstance(last, ast.Expr) and ast.unparse(last).startswith("figures.")


def text_of(notebook: NotebookNode) -> str:
    """The contents of a notebook's file: UTF-8 as it is, indented by one, sorted, ending in a newline."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def write(path: Path, text: str) -> bool:
    """Put a text into a file, all or nothing; returns whether that changed the file."""
    if path.exists() and path.read_bytes() == text.encode("utf-8"):
        return False
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(text.encode("utf-8"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return True


def complaints(path: Path) -> list[str]:
    """What is not clean in a file, each with the cell that has it; nothing is run."""
    before = path.read_bytes().decode("utf-8")
    notebook = nbformat.reads(before, nbformat.NO_CONVERT)
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        return [f"nbformat {notebook.nbformat}.{notebook.nbformat_minor}, not 4.5"]
    cleaned = clean(notebook)
    wrong, number = [], 0
    for old, new in zip(notebook.cells, cleaned.cells):
        if old != new:
            parts = [key for key in old if old[key] != new.get(key)]
            wrong.append(f"cell {old.id!r}: {', '.join(parts)} not clean")
        if old.cell_type == "code" and old.source.strip():
            number += 1
            if IGNORED not in old.metadata.get("tags", []) and not old.outputs and shows_figure(old.source):
                wrong.append(f"cell {old.id!r}: shows a figure, but has no output")
            if old.execution_count != number:
                wrong.append(
                    f"cell {old.id!r}: number {old.execution_count}, would be {number} in a fresh run"
                )
    if notebook.metadata != cleaned.metadata:
        wrong.append("metadata of the notebook not clean")
    if not wrong and text_of(cleaned) != before:
        wrong.append("written differently: indentation, escapes, order of keys or the last newline")
    return wrong


def run(path: Path) -> str | None:
    """Run a notebook and write it back clean; returns what went wrong, with the cell that failed."""
    import execution

    notebook, failure = execution.run(execution.Chapter(path.parent.name, path))
    if failure is not None:
        return str(failure)
    changed = write(path, text_of(clean(notebook)))
    print(f"  {path.parent.name}/{path.stem}: {'written' if changed else 'unchanged'}", flush=True)
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python book/notebooks.py", description="Run the notebooks again, clean."
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="notebooks (default: all of the book)")
    parser.add_argument("--check", action="store_true", help="run nothing; fail if one is not clean")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    paths = [path.resolve() for path in options.notebooks] or sorted(ROOT.glob("notebooks/*/*.ipynb"))
    wrong = []
    for path in paths:
        if options.check:
            wrong += [f"{path.parent.name}/{path.stem}, {complaint}" for complaint in complaints(path)]
        elif (failure := run(path)) is not None:
            wrong.append(f"{failure}\n  the file stays as it was")
    if wrong:
        advice = "\nPut it right with: make notebooks" if options.check else ""
        print("\n".join(wrong) + advice, file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
