"""The catalogues agree with each other and with the code that asks them."""

import ast
import string
from importlib import resources
from pathlib import Path

import pytest

import cnnlab
from cnnlab import i18n
from cnnlab.exercises.report import SYMBOLS

SOURCE = Path(cnnlab.__file__).parent
REPORT = SOURCE / "exercises" / "report.py"


@pytest.fixture(autouse=True)
def _same_language():
    before = i18n.language()
    yield
    i18n.set_language(before)


def fields(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name is not None}


def test_the_course_speaks_japanese_korean_and_english():
    assert {"ja", "ko", "en"} <= set(i18n.languages())


@pytest.mark.parametrize("lang", i18n.languages())
def test_catalogues_have_the_same_keys_and_placeholders(lang):
    english, other = i18n.catalogue("en"), i18n.catalogue(lang)
    assert other.keys() == english.keys()
    assert {key: fields(other[key]) for key in other} == {key: fields(english[key]) for key in english}


@pytest.mark.parametrize("lang", i18n.languages())
def test_messages_are_trimmed_text(lang):
    for key, message in i18n.catalogue(lang).items():
        assert isinstance(message, str), key
        assert message and message == message.strip(), key
        assert message.count("`") % 2 == 0, key
        assert all(name.isidentifier() for name in fields(message)), key


@pytest.mark.parametrize("lang", i18n.languages())
def test_no_table_is_opened_twice(lang):
    tables = [
        line
        for file in resources.files("cnnlab").joinpath("locale", lang).iterdir()
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("[")
    ]
    assert sorted(tables) == sorted(set(tables))


def test_every_language_has_the_same_files():
    folder = resources.files("cnnlab").joinpath("locale")
    files = {lang: sorted(file.name for file in folder.joinpath(lang).iterdir()) for lang in i18n.languages()}
    assert all(names == files["en"] for names in files.values()), files


@pytest.mark.parametrize("name", [p.stem for p in (SOURCE / "locale" / "en").glob("*.toml")])
def test_a_file_holds_the_messages_of_its_part(name):
    """``[exercises.convolution.…]`` stands in convolution.toml, where its chapter's module looks for it."""
    text = (SOURCE / "locale" / "en" / f"{name}.toml").read_text(encoding="utf-8")
    tables = [line.strip("[]").split(".") for line in text.splitlines() if line.startswith("[")]
    chapter = [table[0] == "exercises" and table[1] != "common" for table in tables]
    assert {table[1] if own else table[0] for table, own in zip(tables, chapter)} == {name}


def test_text_follows_the_language():
    said = set()
    for lang in ("ja", "ko", "en"):
        i18n.set_language(lang)
        assert i18n.language() == lang
        said.add(i18n.text("exercises.common.passed"))
    assert said == {"正解です。", "정답입니다.", "Correct."}


def test_text_fills_placeholders():
    i18n.set_language("ja")
    assert i18n.text("exercises.common.shape", want="(2, 3)", got="(3, 2)").count("(2, 3)") == 1
    with pytest.raises(KeyError, match="want"):
        i18n.text("exercises.common.shape", got="(3, 2)")


def test_unknown_language():
    with pytest.raises(ValueError, match=r"unknown language 'fr'; known languages: en, ja, ko"):
        i18n.set_language("fr")


def test_speaking_another_language_for_a_while():
    i18n.set_language("ko")
    with i18n.speaking("ja"):
        assert i18n.text("exercises.common.passed") == "正解です。"
        with pytest.raises(RuntimeError), i18n.speaking("en"):
            raise RuntimeError
        assert i18n.language() == "ja"
    assert i18n.language() == "ko"
    with pytest.raises(ValueError, match="unknown language 'fr'"), i18n.speaking("fr"):
        pass
    assert i18n.language() == "ko"


def test_unknown_key():
    i18n.set_language("ko")
    with pytest.raises(KeyError, match=r"no message 'no.such.key' in the catalogue 'ko'"):
        i18n.text("no.such.key")


def modules():
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(SOURCE.rglob("*.py"))]


def called(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return name == (function.id if isinstance(function, ast.Name) else getattr(function, "attr", None))


def asks(node: ast.AST) -> bool:
    """Whether it is a call of `text` or `i18n.text`, not of a method with that name."""
    if not (called(node, "text") and node.args):
        return False
    function = node.func
    return isinstance(function, ast.Name) or (
        isinstance(function.value, ast.Name) and function.value.id == "i18n"
    )


def tells(node: ast.AST) -> bool:
    """Whether it is a `Message` of the grader, which asks later."""
    return called(node, "Message") and bool(node.args)


def literals(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def exercise_name(function: ast.FunctionDef) -> str | None:
    for decorator in function.decorator_list:
        if called(decorator, "check") and isinstance(decorator.args[0], ast.Constant):
            return str(decorator.args[0].value)
    return None


def hints(function: ast.FunctionDef) -> set[str]:
    """Names of hints in `fail`, `require`, `criterion`, `Hint` and in `mistakes`."""
    found: set[str] = set()
    for node in ast.walk(function):
        for name, position in (("fail", 0), ("criterion", 0), ("require", 1), ("Hint", 0)):
            if called(node, name):
                found |= literals(node.args[position]) - {""}
        if called(node, "compare"):
            for keyword in node.keywords:
                pairs = (
                    keyword.value.elts if keyword.arg == "mistakes" and hasattr(keyword.value, "elts") else []
                )
                found |= {
                    hint for pair in pairs if isinstance(pair, ast.Tuple) for hint in literals(pair.elts[-1])
                }
    return found


def test_every_key_in_the_code_exists():
    known = i18n.catalogue("en").keys()
    for path, tree in modules():
        for node in ast.walk(tree):
            if (asks(node) or tells(node)) and isinstance(node.args[0], ast.Constant):
                assert node.args[0].value in known, f"{path.name}:{node.lineno}"
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        names = [name for function in functions if (name := exercise_name(function))]
        for function in functions:
            name = exercise_name(function)
            candidates = [name] if name else names  # a helper belongs to one of its module's exercises
            for hint in hints(function) | ({"title"} if name else set()) if candidates else ():
                found = any(f"exercises.{candidate}.{hint}" in known for candidate in candidates)
                assert found, f"{path.name}:{function.lineno}: {hint}"


def test_every_key_is_used():
    used = {f"exercises.common.{status}" for status in SYMBOLS}
    # JavaScript asks for these: `test_every_label_is_there_and_used` in test_widgets.py.
    used |= {key for key in i18n.catalogue("en") if key.startswith("widgets.")}
    for path, tree in modules():
        used |= {key for key in literals(tree) if key in i18n.catalogue("en")}
        for node in ast.walk(tree):
            if (asks(node) or tells(node)) and isinstance(node.args[0], ast.JoinedStr) and path != REPORT:
                prefix = node.args[0].values[0]
                assert isinstance(prefix, ast.Constant), (
                    f"{path.name}:{node.lineno}: a key has to begin with its table"
                )
                used |= {key for key in i18n.catalogue("en") if key.startswith(str(prefix.value))}
            if isinstance(node, ast.FunctionDef) and (name := exercise_name(node)):
                used |= {f"exercises.{name}.{word}" for word in literals(tree) | {"title"}}
    assert sorted(set(i18n.catalogue("en")) - used) == []
