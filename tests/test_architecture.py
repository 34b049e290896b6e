"""The package's shape: what may import what, what loads when, and that every public name explains itself."""

import ast
import graphlib
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cnnlab"
FILES = sorted(PACKAGE.rglob("*.py"))

# part of the package: the parts that it may import. A new part is entered here on purpose.
EDGES = {
    "": {"i18n"},  # cnnlab/__init__.py
    "shapes": set(),
    "blocked": {"shapes"},
    "ops": {"shapes", "blocked"},
    "gradcheck": {"ops"},
    "layers": {"shapes", "ops"},
    "figures": {"shapes", "ops"},
    "i18n": set(),
    "data": {"i18n"},
    "models": {"shapes"},
    "train": {"i18n", "data", "models"},
    "exercises": {"shapes", "ops", "gradcheck", "layers", "figures", "i18n", "data", "models", "train"},
    "grading": {"", "i18n", "exercises"},
    "widgets": {"i18n", "figures", "shapes", "ops"},
}
# Modules that load torch as soon as they are imported.
LOAD_TORCH = {"models", "train", "grading"} | {
    f"exercises.{name}"
    for name in (
        "pytorch_nn",
        "simple_cnn",
        "training",
        "visualization",
        "alexnet",
        "observation",
        "modern_cnns",
    )
}
TORCH = {"torch", "torchvision", "torchsummary"}
# Imported without being a dependency, and a dependency without being imported: each with its reason.
NOT_DECLARED = {
    "distributed": "only with `cnnlab grade --dask`: the extra dask",
    "IPython": "figures show themselves in a notebook; where there is a notebook, there is IPython",
}
NOT_IMPORTED = {"torchsummary": "chapter 10 prints a network's summary with it"}
# Docstrings of these say what is raised, function by function.
CORE = ("shapes", "ops", "gradcheck", "layers", "i18n", "data", "models", "train")
SECTIONS = ["Parameters", "Returns", "Yields", "Attributes", "Raises", "Notes", "Examples"]

each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())


def module_name(path: Path) -> str:
    """figures/grids.py -> figures.grids; figures/__init__.py -> figures; cnnlab/__init__.py -> nothing."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, *, at_import_only: bool = False) -> set[str]:
    """Full names of all modules imported in a file; if asked, only of those that its own import loads."""
    found = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def own_parts(names: set[str]) -> set[str]:
    """The parts of cnnlab among imported names: cnnlab.figures.style.Figure -> figures."""
    parts = set()
    for name in names:
        first, *rest = name.split(".")
        if first == "cnnlab":
            parts.add(rest[0] if rest and rest[0] in EDGES else "")
    return parts


@each_file
def test_imports_flow_one_way(path):
    part = module_name(path).split(".")[0]
    assert part in EDGES, (
        f"{part} is new: enter it, and what it may import, in EDGES and in the contributor's guide"
    )
    used = own_parts(imports(parse(path))) - {part}
    assert used <= EDGES[part], f"{part} may import {sorted(EDGES[part])}, but imports {sorted(used)}"


def test_the_allowed_edges_have_no_cycle():
    tuple(graphlib.TopologicalSorter(EDGES).static_order())
    assert all(used <= EDGES.keys() for used in EDGES.values())


def test_the_files_have_no_cycle():
    names = {module_name(path) for path in FILES}
    graph: dict[str, set[str]] = {}
    for path in FILES:
        used = {name.removeprefix("cnnlab.") for name in imports(parse(path)) if name.startswith("cnnlab.")}
        used = {name if name in names else name.rpartition(".")[0] for name in used}
        graph[module_name(path)] = used - {module_name(path)}
    tuple(graphlib.TopologicalSorter(graph).static_order())


@each_file
def test_torch_is_loaded_only_where_it_is_the_subject(path):
    loaded = {name.split(".")[0] for name in imports(parse(path), at_import_only=True)}
    name = module_name(path)
    if name not in LOAD_TORCH and name.split(".")[0] not in LOAD_TORCH:
        assert not loaded & TORCH, (
            f"{name} loads {sorted(loaded & TORCH)}; import it inside the function that needs it"
        )


@each_file
def test_matplotlib_is_used_only_by_figures(path):
    used = imports(parse(path))
    if not module_name(path).startswith("figures"):
        assert "matplotlib" not in {name.split(".")[0] for name in used}
    assert not any("pyplot" in name for name in used)


@each_file
def test_no_star_import_and_no_drawer_for_everything(path):
    assert not any(name.endswith(".*") for name in imports(parse(path)))
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


# What a fresh interpreter has loaded afterwards.
LIGHT = {
    "import cnnlab": {"torch", "matplotlib", "sklearn", "numpy"},
    "import cnnlab; cnnlab.setup('ja'); cnnlab.setup('ko')": {"torch", "matplotlib", "sklearn", "numpy"},
    "import cnnlab.ops, cnnlab.gradcheck": {"torch", "matplotlib", "sklearn"},
    "import cnnlab.data": {"torch", "matplotlib", "sklearn"},
    "import cnnlab.exercises": {"torch", "matplotlib", "sklearn"},
    "import cnnlab.grading.cli, cnnlab.grading.feedback": {"torch", "matplotlib", "sklearn"},
    "import cnnlab.grading.submissions, cnnlab.grading.answer": {"torch", "matplotlib", "sklearn"},
    "import cnnlab.figures": {"torch", "matplotlib.pyplot", "sklearn"},
}


@pytest.mark.parametrize(("statement", "heavy"), LIGHT.items(), ids=LIGHT)
def test_what_an_import_loads(statement, heavy):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "cnnlab" in done.stdout.split()
    assert not heavy & set(done.stdout.split())


# --- dependencies --------------------------------------------------------------------------------------


def distribution(name: str) -> str:
    """As package indexes compare names: Scikit_Learn -> scikit-learn."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """The dependencies that pyproject.toml names, extras excluded."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {distribution(re.match(r"[\w.-]+", line).group()) for line in project["dependencies"]}


@cache
def imported() -> dict[str, set[str]]:
    """Third-party distributions imported anywhere in the package, and the names they are imported by."""
    names = {name.split(".")[0] for path in FILES for name in imports(parse(path))}
    names -= {*sys.stdlib_module_names, "cnnlab", *NOT_DECLARED}
    found: dict[str, set[str]] = {}
    providers = importlib.metadata.packages_distributions()
    for name in names:
        found.setdefault(distribution(providers.get(name, [name])[0]), set()).add(name)
    return found


def test_every_import_is_a_declared_dependency():
    missing = {name: found for name, found in imported().items() if name not in declared()}
    assert not missing, f"imported, but not among the dependencies in pyproject.toml: {missing}"


def test_every_dependency_is_used():
    unused = declared() - imported().keys() - NOT_IMPORTED.keys()
    assert not unused, f"dependencies that nothing in src/cnnlab imports: {sorted(unused)}"


def test_the_exceptions_are_still_needed():
    names = {name.split(".")[0] for path in FILES for name in imports(parse(path))}
    assert names >= NOT_DECLARED.keys()
    assert declared() - imported().keys() == NOT_IMPORTED.keys()
    notebooks = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "notebooks").rglob("*.ipynb"))
    assert all(f"import {name}" in notebooks or f"from {name}" in notebooks for name in NOT_IMPORTED)


# --- docstrings ----------------------------------------------------------------------------------------


def public_names() -> list[tuple[str, str, bool]]:
    """(module, name, whether it raises) of what `__all__` lists, or of what has no underscore."""
    found = []
    for path in FILES:
        tree = parse(path)
        defined = {
            n.name: any(isinstance(node, ast.Raise) for node in ast.walk(n))
            for n in tree.body
            if isinstance(n, ast.FunctionDef | ast.ClassDef)
        }
        listed = [
            ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
        ]
        names = listed[0] if listed else [name for name in defined if not name.startswith("_")]
        found += [(module_name(path), name, defined[name]) for name in names if name in defined]
    return found


PUBLIC = public_names()


@pytest.mark.parametrize(("module", "name", "raises"), PUBLIC, ids=[f"{m}.{n}" for m, n, _ in PUBLIC])
def test_every_public_name_explains_itself(module, name, raises):
    thing = getattr(importlib.import_module(f"cnnlab.{module}".rstrip(".")), name)
    doc = inspect.getdoc(thing)
    assert doc and re.search(r"[.:]`*$", doc.split("\n\n")[0]), "the docstring begins with a sentence"
    titles = re.findall(r"^(\w.*)\n-+$", doc, flags=re.MULTILINE)
    assert set(titles) <= set(SECTIONS), f"sections are named {SECTIONS}"
    assert titles == sorted(titles, key=SECTIONS.index), f"the sections' order is {SECTIONS}"
    if not inspect.isfunction(thing):
        return
    if "Parameters" in titles:
        for parameter in inspect.signature(thing).parameters:
            assert re.search(rf"\b{parameter}\b", doc), f"the docstring does not mention {parameter}"
    if module in CORE and raises:
        assert "Raises" in titles or "rrors as for" in doc, "the docstring says what is raised"
