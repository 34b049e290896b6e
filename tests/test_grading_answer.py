"""What of a notebook is kept and run: it has to define the answer, and nothing else is to be in it."""

import __future__

import ast
import json
import re
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab import i18n
from cnnlab.grading import answer
from cnnlab.grading.answer import Answer, NotAnAnswer, extract

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NET = """
class MyAlexNet(nn.Module):
    def __init__(self, num_classes=1000):
        super().__init__()
        self.fc = nn.Linear(2, num_classes)

    def forward(self, x):
        return F.relu(self.fc(x))
"""
TORCH = "import torch\nimport torch.nn.functional as F\nfrom torch import nn"


def notebook(*cells: object, **more: object) -> bytes:
    """A notebook with these cells: text is code, anything else is the cell itself."""
    made = [
        {"cell_type": "code", "source": textwrap.dedent(c).strip("\n")} if isinstance(c, str) else c
        for c in cells
    ]
    return json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5, "metadata": {}, **more}).encode()


def kept(*cells: object, name: str = "MyAlexNet") -> list[str]:
    """The code that is kept of a notebook with these cells."""
    return [piece.code.rstrip("\n") for piece in extract(notebook(*cells), "ipynb", name).source]


def run(found: Answer) -> dict:
    """The names that there are after the answer has run, as in a worker."""
    namespace: dict = {"__name__": "answer"}
    flags = 0
    for piece in found.source:
        code = compile("\n" * (piece.line - 1) + piece.code, piece.origin, "exec", flags, dont_inherit=True)
        flags |= code.co_flags & __future__.annotations.compiler_flag
        exec(code, namespace)
    return namespace


def value(*cells: str, name: str = "MyAlexNet") -> object:
    """What `name` is after the kept part of a notebook has run."""
    return run(extract(notebook(*cells), "ipynb", name))[name]


def refused(content: bytes, kind: str = "ipynb") -> NotAnAnswer:
    with pytest.raises(NotAnAnswer) as caught:
        extract(content, kind)
    if caught.value.message:
        for lang in i18n.languages():
            assert i18n.catalogue(lang)[caught.value.message.key].format(**caught.value.message.values)
    return caught.value


# --- real notebooks --------------------------------------------------------------------------------------

CHAPTERS = pytest.mark.parametrize("lang", ["ja", "ko"])


def chapter(lang: str) -> dict:
    return json.loads((NOTEBOOKS / lang / "13_alexnet.ipynb").read_text("utf-8"))


@CHAPTERS
def test_the_chapter_as_it_is(lang):
    found = extract(json.dumps(chapter(lang)).encode(), "ipynb")
    imported, stub = found.source
    assert imported.code == "from torch import nn\n"
    assert stub.code.startswith("class MyAlexNet(nn.Module):\n") and "alexnet.check" not in stub.code
    assert not found.wraps
    assert "MyAlexNet" in run(found)


@CHAPTERS
def test_the_chapter_with_its_solution(lang):
    tree = chapter(lang)
    solution = next(
        code
        for cell in tree["cells"]
        if cell["cell_type"] == "markdown"
        for code in re.findall(r"```python\n(.*?)```", "".join(cell["source"]), re.DOTALL)
        if "class MyAlexNet" in code
    )
    stub = next(c for c in tree["cells"] if c["cell_type"] == "code" and "TODO" in "".join(c["source"]))
    stub["source"] = solution.splitlines(keepends=True)
    found = extract(json.dumps(tree).encode(), "ipynb")
    assert [piece.code.splitlines()[0] for piece in found.source] == [
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
        "class MyAlexNet(nn.Module):",
    ]
    assert not found.wraps
    net = run(found)["MyAlexNet"]
    assert net.__init__.__defaults__ == (1000,)


def test_a_students_notebook_in_colab():
    cells = (
        "from google.colab import drive\ndrive.mount('/content/drive')\n!pip install -q wandb torchsummary",
        "import wandb, torch, torchvision\nimport matplotlib.pyplot as plt\nimport torch.nn as nn",
        "import torch.nn.functional as F\nfrom torchvision import datasets, transforms",
        "device = 'cuda' if torch.cuda.is_available() else 'cpu'\n%matplotlib inline",
        """
        train_set = datasets.MNIST('/content/drive/MyDrive/data', download=True)
        loader = torch.utils.data.DataLoader(train_set, batch_size=64)
        x, y = next(iter(loader))
        plt.imshow(x[0, 0])
        """,
        """
        %%time
        class Block(nn.Module):  # 畳み込み
            def __init__(self, i, o, **options):
                super().__init__()
                self.conv = nn.Conv2d(i, o, **options)
            def forward(self, x):
                return F.relu(self.conv(x))
        """,
        """
        class MyAlexNet(nn.Module):
            def __init__(self, num_classes=1000):
                super().__init__()
                layers = [Block(3, 4, kernel_size=3), Block(4, 5, kernel_size=3)]
                self.features = nn.Sequential(*layers)
                self.fc = nn.Linear(5, num_classes)
            def forward(self, x):
                images = self.features(x)
                out = images.mean((2, 3))
                loss = self.fc(out)
                return loss
        model = MyAlexNet().to(device)
        !nvidia-smi
        print(model)
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        losses = []
        for epoch in range(10):
            for images, labels in loader:
                out = model(images)
                loss = F.cross_entropy(out, labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        """,
        "layers = [1, 2, 3]\nplt.plot(losses)\nprint('終わり'",  # broken
    )
    found = extract(notebook(*cells), "ipynb")
    assert [piece.code.splitlines()[0] for piece in found.source] == [
        "import torch.nn as nn",
        "import torch.nn.functional as F",
        "class Block(nn.Module):  # 畳み込み",
        "class MyAlexNet(nn.Module):",
    ]
    assert [(piece.origin, piece.line) for piece in found.source] == [
        ("cell 2", 3),
        ("cell 3", 1),
        ("cell 6", 2),
        ("cell 7", 1),
    ]
    assert not found.wraps
    assert run(found)["MyAlexNet"](7)(torch.zeros(2, 3, 8, 8)).shape == (2, 7)


def test_methods_added_later_as_in_d2l():
    cells = (
        "import torch\nfrom torch import nn",
        """
        def add_to_class(Class):
            def wrapper(obj):
                setattr(Class, obj.__name__, obj)
            return wrapper
        """,
        """
        class Trainer:
            def __init__(self): self.epochs = 3

        @add_to_class(Trainer)
        def fit(self, model): ...
        """,
        "class MyAlexNet(nn.Module):\n    def __init__(self, num_classes=1000): super().__init__()",
        "@add_to_class(MyAlexNet)\ndef forward(self, x):\n    return double(x)",
        "def double(x): return 2 * x",
        "MyAlexNet.half = lambda self, x: x / 2",
        "trainer = Trainer(); trainer.fit(MyAlexNet())",
    )
    found = extract(notebook(*cells), "ipynb")
    assert not any("rainer" in piece.code for piece in found.source)
    assert run(found)["MyAlexNet"]()(3) == 6
    assert run(found)["MyAlexNet"]().half(3) == 1.5
    base = (
        "class Base: pass",
        "class MyAlexNet(Base): pass",
        "MyAlexNet()",
        "Base.forward = lambda self, x: x",
    )
    assert value(*base)().forward(3) == 3


# --- which definition ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (("class MyAlexNet: a = 1", "class MyAlexNet: a = 2"), 2),
        (("class MyAlexNet: a = 1", "class Other: a = 2\nMyAlexNet = Other"), 2),
        (("class Net: a = 1", "MyAlexNet = Net", "class Net: a = 2"), 1),
        (("class MyAlexNet: b = 1", "class MyAlexNet(MyAlexNet): a = 2"), 2),
        (("class MyAlexNet: a = 1", "def make():\n    class MyAlexNet: a = 2"), 1),
        (("class MyAlexNet: a = 1", "if True:\n    class MyAlexNet: a = 2"), 2),
        (("class MyAlexNet: a = 1", "if False:\n    class MyAlexNet: a = 2"), 1),
        (("try:\n    class MyAlexNet: a = 1\nexcept Exception:\n    raise", "MyAlexNet.b = 0"), 1),
        (("class MyAlexNet: a = 1", "for MyAlexNet in (3, 4): print(MyAlexNet)"), 1),
        (("class A: a = 1", "for MyAlexNet in (3, A): pass"), 1),
        (("class A: a = 1", "MyAlexNet: type = A"), 1),
        (("class A: a = 1", "X, (MyAlexNet, *Y) = 0, (A, 1, 2)"), 1),
        (("class A: a = 1", "print(MyAlexNet := A)"), 1),
        (("class A: a = 1", "with open('/dev/null') as f:\n    class MyAlexNet(A): pass"), 1),
        (("class MyAlexNet: a = 1", "MyAlexNet: type"), 1),
        (("class MyAlexNet: a = 1", "class MyAlexNet: a = 2\nMyAlexNet("), 1),  # never defined anything
        (("class MyAlexNet: a = 1", {"cell_type": "markdown", "source": "class MyAlexNet: a = 2"}), 1),
        (("class MyAlexNet: a = 1", {"cell_type": "raw", "source": "class MyAlexNet: a = 2"}), 1),
        (("class MyAlexNet: a = 1", "%%writefile net.py\nclass MyAlexNet: a = 2"), 1),
        (("class MyAlexNet: a = 1", "%%capture\n\n%%time\nclass MyAlexNet: a = 2"), 2),
        (("from types import SimpleNamespace as MyAlexNet\nMyAlexNet.a", "1"), None),
        (("def MyAlexNet(a=1): ...\nMyAlexNet.a = 1",), 1),
        (("if 1:\n    if 1:\n        class MyAlexNet: a = 1",), 1),
        (("class MyAlexNet: a = 1; b = 2",), 1),
        (("x = 0; class_ = 1", "y = 1; MyAlexNet = type('é', (), {'a': y}); z = 3"), 1),
    ],
)
def test_the_last_definition_counts(cells, want):
    assert getattr(value(*cells), "a", None) == want


def test_a_later_definition_that_is_no_python_is_told():
    broken = "x = 1\nclass MyAlexNet:\n    def f(self:\n"
    found = extract(notebook("class MyAlexNet: a = 1", broken), "ipynb")
    assert run(found)["MyAlexNet"].a == 1
    assert (found.unread.values["cell"], found.unread.values["line"]) == (2, 3)
    assert extract(notebook(broken, "class MyAlexNet: a = 1"), "ipynb").unread is None
    assert extract(notebook("class MyAlexNet: a = 1", "def f(MyAlexNet"), "ipynb").unread is None


def test_earlier_definitions_are_dropped():
    cells = (TORCH, "class MyAlexNet(nn.Module): a = 1", NET, "MyAlexNet.a = 2", NET.replace("2,", "3,"))
    assert [code for code in kept(*cells) if "a = " in code or "2," in code] == []
    again = NET.replace("super()", "super(MyAlexNet, self)")
    assert len(kept(TORCH, again, again)) == 3


def test_names_that_functions_read_are_those_at_the_last_use():
    cells = (
        "def size(): return 1",
        "class MyAlexNet:\n    def a(self): return size()",
        "print(MyAlexNet().a())",
        "def size(): return 2",  # of the next exercise
    )
    assert value(*cells)().a() == 1
    data = ("d = [1]", "class MyAlexNet:\n    a = d", "d.append(2)", "MyAlexNet()", "d.append(3)")
    assert value(*data).a == [1, 2]
    assert value(*cells, "print(MyAlexNet().a())")().a() == 2  # corrected, then tried again
    program = "\n".join(cells).encode()
    assert run(extract(program, "py"))["MyAlexNet"]().a() == 2  # a module is imported as a whole


def test_a_statement_reads_what_stands_above_it():
    cells = (
        "n = 1\ndef size(): return n",
        "a = size()",
        "n = 2",
        "class MyAlexNet:\n    a = a\n    b = size()\n    def c(self): return size()",
        "a = 7",
    )
    net = value(*cells)
    assert (net.a, net.b, net().c()) == (1, 2, 2)


def test_a_helper_may_stand_below_and_so_may_an_import():
    cells = (NET, "from torch import nn", "import torch.nn.functional as F", "x = MyAlexNet()", "nn = 3")
    assert value(*cells)(4).fc.out_features == 4


# --- what is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        (
            "import os, sys\nSIZE = 3",
            "class MyAlexNet:\n    a = SIZE\n    def f(self): return os.sep, sys.path",
        ),
        ("import os.path", "class MyAlexNet:\n    def f(self): return os.path.sep"),
        ("import os.path as p", "class MyAlexNet:\n    def f(self): return p.sep"),
        ("from os import (\n    path,  # a\n    sep as s,\n)", "class MyAlexNet:\n    f = path.sep, s"),
        ("A = 1\nB = A + 1", "class MyAlexNet:\n    def f(self, b=B): return b"),
        ("from functools import cache", "class MyAlexNet:\n    @cache\n    def f(self): ..."),
        ("from functools import total_ordering as o", "@o\nclass MyAlexNet:\n    def __lt__(self, o): ..."),
        ("import typing as t", "class MyAlexNet:\n    def f(self, x: t.Any) -> t.Any: ..."),
        ("class M(type): ...", "class MyAlexNet(metaclass=M): ..."),
        ("def g(): return h()", "def h(): return 1", "class MyAlexNet:\n    def f(self): return g()"),
        ("K = 2", "class MyAlexNet:\n    f = [K * i for i in range(3)]"),
        ("K = 2", "class MyAlexNet:\n    f = lambda self, x: [K * i for i in x if (y := i)]"),
        ("K = 2", "class MyAlexNet:\n    def f(self):\n        def g(): return K\n        return g()"),
        ("K = 2", "class MyAlexNet:\n    class Inner:\n        k = K\n        def f(self): return K"),
        ("n = 0", "class MyAlexNet:\n    def f(self):\n        global n\n        n += 1"),
        ("n = 1", "n += 2", "class MyAlexNet:\n    f = n"),
        ("s = []", "s.append(1)", "s[0] = 2", "s += [3]", "class MyAlexNet:\n    f = s"),
        ("d = {}", "d.setdefault('a', []).append(1)", "d['a'] = 2", "class MyAlexNet:\n    f = d"),
        ("class A: ...", "A.f = lambda s: 2", "class MyAlexNet(A): ..."),
        ("class A: ...", "setattr(A, 'f', 3)", "class MyAlexNet(A): ..."),
        ("class A: ...", "MyAlexNet = A", "A.f = lambda s: 2"),
        ("layers = []", "for i in range(3):\n    layers.append(i)", "class MyAlexNet:\n    f = layers"),
        ("try:\n    import lzma\nexcept ImportError:\n    lzma = None", "class MyAlexNet:\n    f = lzma"),
        ("if 1 > 2:\n    k = 1\nelse:\n    k = 2", "class MyAlexNet:\n    f = k"),
        ("k = None", "import os\nif os.sep:\n    k = 2", "class MyAlexNet:\n    f = k"),
        ("k = 2", "try:\n    k = nothing\nexcept NameError:\n    pass", "class MyAlexNet:\n    f = k"),
        ("with open('/dev/null') as f:\n    text = f.read()", "class MyAlexNet:\n    f = text"),
        ("a = b = c = 3", "class MyAlexNet:\n    f = b"),
        ("(p := 3)", "class MyAlexNet:\n    f = p"),
        ("match 3:\n    case int() as m: pass", "class MyAlexNet:\n    f = m"),
        ("reg = {}\ndef add(f): reg[1] = f; return f", "@add\ndef g(): ...", "class MyAlexNet:\n    f = g"),
        ("from collections import Counter\nc = Counter()", "c.update('a')", "class MyAlexNet:\n    f = c"),
        ("class R(dict):\n    def reg(self, f): self[1] = f; return f", "r = R()", "@r.reg\ndef g(): ...")
        + ("class MyAlexNet:\n    f = r[1]",),
        ("from math import *", "class MyAlexNet:\n    f = sqrt(4)"),
    ],
)
def test_all_that_it_needs(cells):
    """Every cell is needed, here, and what is kept defines the same as the whole."""
    codes = kept("print(1)", *cells, "x = 1/0", "MyAlexNet()")
    whole: dict = {}
    exec("\n".join(cells), whole)
    assert sorted(map(ast.unparse, ast.parse("\n".join(codes)).body)) == sorted(
        ast.unparse(part) for cell in cells for node in ast.parse(cell).body for part in separate(node)
    )
    net = value(*cells)
    if hasattr(net, "f") and not callable(net.f):
        assert net.f == whole["MyAlexNet"].f


def separate(node: ast.stmt) -> list[ast.stmt]:
    """One import for each name, as they are kept."""
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    return (
        [ast.ImportFrom(node.module, [a], 0) for a in node.names]
        if isinstance(node, ast.ImportFrom)
        else [node]
    )


@pytest.mark.parametrize(
    "cell",
    [
        "import nowhere",
        "import torch, nowhere",
        "from nowhere import *",
        "import torch.nowhere",
        "import torch.nowhere.functional",
        "drive.mount('/content/drive')",
        "x = nowhere.download()\ny = x + 1",
        "for x in nowhere: self = fc = num_classes = x",
        "for F in (1, 2): print(F)",
        "with nowhere as nn: pass",
        "if __name__ == '__main__':\n    nn = nowhere",
        "def train(): return MyAlexNet(nowhere)",
        "assert MyAlexNet().fc == nowhere",
        "torch.backends.nowhere.benchmark = nowhere",
        "nn.Linear.forward = nowhere",
        "nn.init.normal_(nowhere)",
        "%run nowhere.py",
        "!rm -r nowhere",
        "%%bash\necho nowhere",
        "def broken(",
        "print 'nowhere'",
        "await nowhere",
        "nonlocal nowhere",
        "return nowhere",
        "del nowhere",
        "[nowhere for nn in range(3)]",
        "lambda nn: nowhere",
        "def f(nn, F): return nowhere",
        "class C:\n    nn = nowhere\n    F = nowhere",
        "try: nowhere()\nexcept NameError as nn: pass",
        "'" + "nowhere" * 20_000 + "'",
        "x = " + "-" * 100_000 + "nowhere",
        "nowhere = " + "(" * 100_000,
        "nowhere \0",
    ],
)
def test_not_kept(cell):
    for cells in [(TORCH, cell, NET), (TORCH, NET, cell), (TORCH, NET, cell, "MyAlexNet()")]:
        found = extract(notebook(*cells), "ipynb")
        assert not any("nowhere" in piece.code for piece in found.source), found
        assert run(found)["MyAlexNet"](3).fc.out_features == 3


def test_of_imports_only_the_names_that_are_used():
    code = "import torch.utils.nowhere\nimport torch\nfrom torch import (\n    Tensor,\n    nn, hub\n)"
    found = extract(notebook(code, "class MyAlexNet(nn.Module):\n    f = torch.relu"), "ipynb")
    assert [(piece.code, piece.line) for piece in found.source[:2]] == [
        ("import torch\n", 2),
        ("from torch import nn\n", 5),
    ]
    modules = ("import xml.dom", "import xml.etree.ElementTree", "import xml", "import xml.sax")
    assert kept(*modules, "MyAlexNet = xml.etree.ElementTree.parse")[:-1] == [modules[1], modules[2]]
    assert kept(modules[0], modules[1], "MyAlexNet = xml.etree")[:-1] == [modules[1]]
    assert kept("import xml.dom as d, xml.dom.minidom as m", "MyAlexNet = d")[:-1] == ["import xml.dom as d"]


def test_a_star_only_where_a_name_comes_from_nowhere_else():
    assert kept("from torch.nn import *", TORCH, NET)[0] != "from torch.nn import *"
    assert kept("from torch.nn import *", "class MyAlexNet(Module): pass")[0] == "from torch.nn import *"
    assert kept("from numpy import *", "class MyAlexNet:\n    def f(self): return sum([1])") == [
        "class MyAlexNet:\n    def f(self): return sum([1])"
    ]


def test_annotations_of_the_future():
    cells = ("import torch", "from __future__ import annotations, division", "from nowhere import Float")
    cells += (
        "class MyAlexNet:\n    a: Float = 1\n    def f(self, x: Float) -> Float: return Later",
        "Later = 2",
    )
    assert kept(*cells)[:2] == ["from __future__ import annotations", "from __future__ import division"]
    assert value(*cells)().f(1) == 2
    assert kept("from __future__ import braces", "MyAlexNet = 1") == ["MyAlexNet = 1"]


def test_locals_do_not_pull_in_globals():
    training = "x = nowhere\nlayers = x\nself = x\nout = x\ni = x\nsize = x"
    net = """
    class MyAlexNet:
        size = 3
        area = size * size
        def __init__(self, layers=None):
            self.layers = layers
        def forward(self, x, *out, **size):
            for i in range(3):
                x = [i + x for i, x in zip(x, out)]
            layers = lambda self: self + x
            return layers
    """
    assert len(kept(training, net)) == 1
    assert (
        len(kept("for i in nowhere: i", "L = []", "for i in (1, 2):\n    L.append(i)", "MyAlexNet = L")) == 3
    )


# --- IPython ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("%matplotlib inline\na = 1", "pass\na = 1"),
        ("!pip install x 'y", "pass"),
        ("!!ls", "pass"),
        ("if a:\n    !pip install x\n    %cd y\nb", "if a:\n    pass\n    pass\nb"),
        ("!pip install \\\n  x \\\n  y\na", "pass\n\n\na"),
        ("x = !ls *.py", "x = None"),
        ("x = %timeit -o f()", "x = None"),
        ("x, y = !ls", "x, y = None"),
        ("nn.Conv2d?", "pass"),
        ("nn.Conv2d??\na", "pass\na"),
        ("?nn.Conv2d", "pass"),
        ("%timeit?", "pass"),
        ("a = (b\n%c\n)", "a = (b\n%c\n)"),
        ("a = b \\\n% c", "a = b \\\n% c"),
        ('a = """\n%time\n!ls\nx?\n"""', 'a = """\n%time\n!ls\nx?\n"""'),
        ("a = r'''\\'''\n!ls", "a = r'''\\'''\n!ls"),
        (
            'def f():\n    """Is it\n    !important?\n    """',
            'def f():\n    """Is it\n    !important?\n    """',
        ),
        ("a = 1  # b=what?\nc = 'd?'", "a = 1  # b=what?\nc = 'd?'"),
        ("# is it?\n#!ls", "# is it?\n#!ls"),
        ("a != b\na %= b\na == b", "a != b\na %= b\na == b"),
        ("a = '''x''' '''\n%y'''", "a = '''x''' '''\n%y'''"),
        ("a = 'x\\\n%y'", "a = 'x\\\n%y'"),
        ('a = "it\'s"\n!ls', 'a = "it\'s"\npass'),
        ("a = ']'  # (\n!ls", "a = ']'  # (\npass"),
    ],
)
def test_magics_become_python(code, want):
    assert answer._python(code)[0] == want


def test_a_notebook_full_of_magics():
    cells = (
        "%load_ext autoreload\n%autoreload 2\n!nvidia-smi\n" + TORCH,
        "%%html\n<b>class MyAlexNet</b>",
        "%%timeit\nclass MyAlexNet: pass",
        "%%capture out --no-stderr\n!pip install x\n"
        + NET.lstrip()
        + "\nMyAlexNet?\nx = !ls\n%timeit MyAlexNet()",
        "    MyAlexNet.a = '''\n    %b\n    '''\n    !ls",  # all of it indented
    )
    found = extract(notebook(*cells), "ipynb")
    assert run(found)["MyAlexNet"].a.strip() == "%b"
    assert [piece.line for piece in found.source if piece.code.startswith("class")] == [3]


def test_a_program_downloaded_from_colab():
    code = "# coding: utf-8\n!pip install x\n%%time\nimport os\nclass MyAlexNet:\n  a = os.sep\n"
    found = extract(code.encode(), "py")
    assert [(piece.origin, piece.line) for piece in found.source] == [("file", 4), ("file", 5)]


def test_errors_name_the_line_in_the_cell():
    cells = (
        "# a",
        "",
        "\n\n%%time\nx = 3;y = 4\n\n@print\n\n@print\nclass MyAlexNet:\n    a = x / (y - 4)\n\nz",
    )
    made = [{"cell_type": "code", "source": cell} for cell in cells]
    with pytest.raises(ZeroDivisionError) as caught:
        run(extract(notebook(*made), "ipynb"))
    last = caught.traceback[-1]
    assert (str(last.path).rpartition("/")[2], last.lineno + 1) == ("cell 2", 10)


# --- not an answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "line", "words"),
    [
        ("# a\nclass MyAlexNet:\n    def f(self:\n        pass", 3, "SyntaxError"),
        ("class MyAlexNet:\n\tdef f(self):\n        pass", 3, "TabError|IndentationError"),
        ("%%time\nclass MyAlexNet(nn.Module)\n    pass", 2, "SyntaxError"),
        ("class MyAlexNet:\n    nonlocal x", 2, "SyntaxError"),
        ("x = 1\nclass MyAlexNet:\n    def f(self, a, a): pass", 3, "SyntaxError"),
        ("class MyAlexNet:\n  x = 1　+ 2", 2, "SyntaxError"),
        ("MyAlexNet = (", 1, "SyntaxError"),
    ],
)
def test_the_answers_own_cell_is_no_python(cell, line, words):
    error = refused(notebook("import torch", {"cell_type": "markdown", "source": "a"}, cell))
    assert error.status == "error"
    assert error.message.key == "grading.messages.raised_in_cell"
    assert error.message.values["cell"] == 2
    assert error.message.values["line"] == line
    assert re.fullmatch(words, error.message.values["error"])
    if not cell.startswith("%%"):
        error = refused(cell.encode(), "py")
        assert (error.status, error.message.values["line"]) == ("error", line)


@pytest.mark.parametrize(
    "code",
    [
        "(" * 100_000,
        "(" * 100_000 + ")" * 100_000,
        "x+" * 100_000 + "x",
        "-" * 100_000 + "1",
        "not " * 40_000 + "1",
        "x" + ".a" * 90_000,
        "f" + "()" * 90_000,
        "lambda:" * 20_000 + "1",
        "lambda a,b:" * 10_000 + "1",
        "1 if 1 else " * 10_000 + "1",
        "[1, " * 40_000,
        "if 1: pass\n" + "elif 1: pass\n" * 10_000,
        "".join(" " * i + "if 1:\n" for i in range(400)),
        "x = 1\n" * 30_000,
        "a + 1; " * 40_000 + "1",
        "a" * 310_000,
    ],
    ids=range(16),
)
def test_extreme_code_ends_well(code):
    cell = f"class MyAlexNet: pass\nb = 0\n{code}"
    assert refused(cell.encode(), "py").status in ("error", "invalid")
    assert len(extract(notebook(cell, "class MyAlexNet: pass"), "ipynb").source) == 1


def test_much_data_is_no_trouble():
    data = "x = [" + "1, " * 25_000 + "]\nclass MyAlexNet: a = x"
    assert len(value(data).a) == 25_000
    assert len(value("blob = '" + "x" * 400_000 + "'", data).a) == 25_000


def test_code_that_leads_names_round_and_round():
    chain = "\n".join(f"def f{i}(): return f{i + 1}, f{i // 2}, x\nx = f{i}" for i in range(2_000))
    assert refused(notebook(chain, "MyAlexNet = f0")).message.key == "grading.answer.too_complex"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "empty"),
        (b" \n\t\r\n", "empty"),
        (b"\0" * 1000, "empty"),
        (b"<html>", "not_json"),
        (b"class MyAlexNet: pass", "not_json"),
        (b'{"cells": [', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"cells":' * 100_000, "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"PK\x03\x04\x00\x00", "not_json"),
        (b"[]", "no_cells"),
        (b"{}", "no_cells"),
        (b"null", "no_cells"),
        (b"NaN", "no_cells"),
        (b"1" * 10_000, "no_cells"),
        (b'"cells"', "no_cells"),
        (b'{"cells": null}', "no_cells"),
        (b'{"cells": {"a": 1}}', "no_cells"),
        (b'{"worksheets": 3}', "no_cells"),
        (notebook(*["#" * 80_000] * 4), "too_long"),
    ],
)
def test_no_notebook(content, key):
    error = refused(content)
    assert (error.status, error.message.key) == ("invalid", f"grading.answer.{key}")


@pytest.mark.parametrize(
    "cells",
    [
        (),
        ("",),
        ("x = 1",),
        ("# class MyAlexNet: pass",),
        ("'''class MyAlexNet: pass'''",),
        ("def f():\n    class MyAlexNet: pass",),
        ("class C:\n    class MyAlexNet: pass",),
        ("MyAlexNet",),
        ("MyAlexNet()",),
        ("MyAlexNet.a = 1",),
        ("class MyAlexNet2: pass", "class MyAlexNet"[:12]),
        ("%%writefile a.py\nclass MyAlexNet: pass",),
        (None, 1, [], "x", {}, {"cell_type": "code"}, {"cell_type": "code", "source": 3}),
        ({"cell_type": "code", "source": [1, None, ["class MyAlexNet: pass"]]}, {"cell_type": 1}),
        ({"source": "class MyAlexNet: pass"}, {"cell_type": ["code"], "source": "class MyAlexNet: pass"}),
    ],
)
def test_no_such_name(cells):
    assert refused(notebook(*cells)).status == "missing"


def test_a_similar_name_is_told():
    assert refused(notebook("class Net: pass")).message is None
    assert refused(notebook("class Net: pass", "class MyAlexnet: pass")).message.values == {
        "found": "MyAlexnet",
        "name": "MyAlexNet",
    }


# --- files of all kinds ----------------------------------------------------------------------------------


def test_nbformat_3():
    cell = {"cell_type": "code", "input": ["class MyAlexNet:\n", "    a = 3"], "language": "python"}
    for source in (cell, {**cell, "input": "class MyAlexNet:\n    a = 3"}):
        sheets = [None, {"cells": 3}, {"cells": [{"cell_type": "heading", "source": "x"}, source]}]
        found = extract(json.dumps({"nbformat": 3, "worksheets": sheets}).encode(), "ipynb")
        assert run(found)["MyAlexNet"].a == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp932", "cp949"])
@pytest.mark.parametrize("kind", ["ipynb", "py"])
def test_encodings(encoding, kind):
    text = "채점" if encoding == "cp949" else "表示ソ"
    code = f"# {text}\r\nclass MyAlexNet:\r\n    a = '{text}'\r\n"
    made = json.dumps({"cells": [{"cell_type": "code", "source": code}]}, ensure_ascii=False)
    content = (made if kind == "ipynb" else code).encode(encoding)
    found = extract(content, kind)
    assert found.source[0].line == 2
    if encoding != "cp949":  # without a mark it might be either; only what stands in quotes differs
        assert run(found)["MyAlexNet"].a == text


@pytest.mark.parametrize(
    ("content", "a"),
    [
        ("# coding: euc-kr\nclass MyAlexNet: a = '채점'".encode("euc-kr"), "채점"),
        ("# coding: shift_jis\nclass MyAlexNet: a = '採点'".encode("shift_jis"), "採点"),
        (b"# coding: nonsense\nclass MyAlexNet: a = 1", 1),
        (b"# coding: hex\nclass MyAlexNet: a = 1", 1),
        (b"# coding: cp932\nclass MyAlexNet: a = '\xea\xb0\x80'", None),
        (b"class MyAlexNet: a = 1 # \xff\xff\xff", 1),
        (b"class MyAlexNet:\r    a = 1\r", 1),
        (b"class MyAlexNet:\n    a = 1 # \x0c \x1c \xc2\x85 \xe2\x80\xa8\n    b = 1", 1),
    ],
)
def test_programs_in_odd_encodings(content, a):
    assert a in (run(extract(content, "py"))["MyAlexNet"].a, None)


def test_halves_of_surrogate_pairs():
    found = extract(
        b'{"cells": [{"cell_type": "code", "source": "class MyAlexNet: a = \'\\ud800\'"}]}', "ipynb"
    )
    assert run(found)["MyAlexNet"].a == "?"


def test_warnings_about_the_code_are_not_ours():
    assert len(kept("class MyAlexNet:\n    '\\d'\n    a = 1 is 1")) == 1  # warnings are errors here


# --- ready-made ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        ("import torchvision as t", "def MyAlexNet(): return t.models.alexnet()"),
        ("import torchvision.models as m", "MyAlexNet = m.alexnet"),
        ("import torchvision.models", "MyAlexNet = torchvision.models.AlexNet"),
        ("from torchvision import models", "MyAlexNet = models.AlexNet"),
        ("from torchvision import models as v", "class MyAlexNet(v.AlexNet): ..."),
        ("from torchvision.models import alexnet as a", "MyAlexNet = a"),
        ("from torchvision.models.alexnet import AlexNet", "MyAlexNet = AlexNet"),
        ("from torchvision.models import *", "MyAlexNet = AlexNet"),
        ("import torchvision as tv\nt = tv", "MyAlexNet = t.models.alexnet"),
        ("import torchvision as tv", "MyAlexNet = getattr(tv, 'models').alexnet"),
        ("MyAlexNet = __import__('torchvision').models.alexnet",),
        ("import importlib as i", "MyAlexNet = i.import_module('torchvision').models.AlexNet"),
        ("from importlib import import_module as i", "MyAlexNet = i('torchvision.models').A"),
        ("import sys", "MyAlexNet = sys.modules['torchvision.models'].alexnet"),
        ("class MyAlexNet:\n    def __init__(self):\n        from torchvision.models import alexnet",),
        ("def MyAlexNet():\n    import torchvision\n    return torchvision.models.alexnet()",),
        ("import torchvision", "class MyAlexNet: ...", "MyAlexNet.f = torchvision.models.vgg16"),
        ("import torch", "class MyAlexNet:\n    def f(self): torch.hub.load('a', 'b')"),
        ("from torch import hub", "MyAlexNet = hub.load"),
        ("from cnnlab.models import AlexNet", "class MyAlexNet(AlexNet): ..."),
        ("from cnnlab import models", "MyAlexNet = models.AlexNet"),
        ("from cnnlab.exercises import alexnet", "MyAlexNet = alexnet.AlexNet"),
        ("from cnnlab.exercises.alexnet import AlexNet as A", "MyAlexNet = A"),
    ],
)
def test_ready_made_networks(cells):
    package = next(name for name in ("torchvision", "cnnlab", "torch") if name in "".join(cells))
    want = {"torchvision": "torchvision.models", "cnnlab": "cnnlab.models", "torch": "torch.hub"}[package]
    assert extract(notebook(*cells), "ipynb").wraps == want


@pytest.mark.parametrize(
    "cells",
    [
        ("from torchvision import transforms, models", "MyAlexNet = transforms.Resize"),
        ("import torchvision", "MyAlexNet = torchvision.transforms.Resize"),
        ("import torchvision.models", "MyAlexNet = torchvision.transforms.Resize"),
        ("from torchvision.models import AlexNet", "class AlexNet: ...", "MyAlexNet = AlexNet"),
        ("from torchvision.models import *\nfrom torch.nn import *", "class MyAlexNet(Module): ..."),
        ("from torchvision.models import alexnet", "class MyAlexNet: ...", "alexnet()"),
        ("from cnnlab.shapes import conv_output_size as c", "class MyAlexNet: a = c(8, 3)"),
        ("class MyAlexNet:\n    '''As in torchvision.models.alexnet'''\n    models = 3",),
        ("class MyAlexNet(torchvision.models.AlexNet): ...", "class MyAlexNet: ..."),
    ],
)
def test_networks_of_ones_own(cells):
    assert extract(notebook(*cells), "ipynb").wraps == ""


# --- whatever the bytes are ------------------------------------------------------------------------------


def survives(content: bytes) -> None:
    for kind in ("ipynb", "py"):
        try:
            assert extract(content, kind).source
        except NotAnAnswer as error:
            assert error.status in ("missing", "invalid", "error")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("class MyAlexNet: pass"),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["cells", "source", "cell_type", "worksheets", "input", "metadata"]) | st.text(),
            inner,
        )
    ),
)


@given(st.binary())
def test_any_bytes(content):
    survives(content)


@given(JSON)
def test_any_json(tree):
    survives(json.dumps(tree).encode())
    survives(json.dumps({"cells": tree}).encode())
    survives(json.dumps({"cells": [tree, {"cell_type": "code", "source": tree}]}).encode())


WORDS = re.findall(
    r"\w+", "import from if else try except lambda for in global await async yield return match"
)
SIGNS = ["\n", "    ", *"():=%!?'*,.1#;@[]{}\\\t\r\0é表", '"""', "f'", ":=", "->", "\\\n", "**", "_", "%%"]
NAMES = ["MyAlexNet", "class ", "def ", "x", "nn", "pass", " as ", "while ", "with "]
PARTS = st.sampled_from([*NAMES, *SIGNS, *(f"{word} " for word in WORDS)])


@given(st.lists(PARTS, max_size=30).map("".join))
def test_any_code(code):
    survives(code.encode())
    survives(notebook({"cell_type": "code", "source": code}))
    survives(notebook(TORCH, NET, {"cell_type": "code", "source": code}, NET))


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_damaged_notebooks(data):
    content = bytearray((NOTEBOOKS / "ja" / "13_alexnet.ipynb").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 40))
        content[start : start + length] = data.draw(st.binary(max_size=10))
    survives(bytes(content))
