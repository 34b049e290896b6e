"""Changes the address of the repository everywhere it is written.

    python book/repository.py                                   show the address and the files that have it
    python book/repository.py https://github.com/somebody/cnnlab

The address stands in ``_config.yml`` (``repository.url``). It has to be copied where a reader without this
folder needs it: in the set-up cell of each notebook, which Colab runs, in the start pages and in README. A
test sees to it that the copies agree.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
COPIES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "environment.yml",
    "notebooks/*/*.md",
    "notebooks/*/*.ipynb",
)
ADDRESS = re.compile(r"https://github\.com/[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]*[A-Za-z0-9_-]")


def read(root: Path = ROOT) -> str:
    """The address in ``_config.yml``."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def copies(root: Path = ROOT) -> list[Path]:
    """The files that may hold a copy of the address."""
    return [path for pattern in COPIES for path in sorted(root.glob(pattern))]


def replace(text: str, old: str, new: str) -> str:
    """Replace an address, but not a longer one that begins with it; Colab writes it without ``https://github.com``."""
    end = r"(?![A-Za-z0-9_-]|\.[A-Za-z0-9_-]*[A-Za-z0-9_-]/)"
    text = re.sub(re.escape(old) + end, new, text)
    owner = "/".join(old.rsplit("/", 2)[1:])
    return re.sub(rf"(/github/){re.escape(owner)}{end}", r"\g<1>" + "/".join(new.rsplit("/", 2)[1:]), text)


def change(new: str, root: Path = ROOT) -> list[Path]:
    """Write a new address everywhere; returns the files that changed.

    Raises
    ------
    ValueError
        If the address is not of the form ``https://github.com/owner/name``.
    """
    new = new.rstrip("/").removesuffix(".git")
    if not ADDRESS.fullmatch(new):
        raise ValueError(f"expected an address like https://github.com/owner/name, got {new!r}")
    old = read(root)
    changed = []
    for path in [root / "_config.yml", *copies(root)]:
        text = path.read_bytes().decode("utf-8")
        replaced = replace(text, old, new)
        if replaced != text:
            if path.suffix == ".ipynb":
                json.loads(replaced)
            path.write_bytes(replaced.encode("utf-8"))
            changed.append(path)
    return changed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python book/repository.py", description="Change the repository's address."
    )
    parser.add_argument("address", nargs="?", help="https://github.com/owner/name")
    options = parser.parse_args(arguments)
    if options.address is None:
        address = read()
        print(address)
        holders = [path for path in copies() if address in path.read_text(encoding="utf-8")]
    else:
        try:
            holders = change(options.address)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 1
    for path in holders:
        print(f"  {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
