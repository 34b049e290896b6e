"""How checks treat answers: right, wrong, missing, broken and odd ones."""

import inspect
import random

import numpy as np
import pytest
import torch

from cnnlab import i18n
from cnnlab.exercises import Attempt, Report, check
from cnnlab.exercises.report import Hint

MESSAGES = {
    "exercises.test.double.title": "double",
    "exercises.test.double.tripled": "three <times>, not `{factor}`",
    "exercises.test.double.transposed": "axes swapped",
    "exercises.test.count.title": "count",
    "exercises.test.count.off_by_one": "one too many",
    "exercises.test.count.divided": "use `//`",
    "exercises.test.model.title": "model",
    "exercises.test.model.layers": "layers",
    "exercises.test.model.bias": "bias",
    "exercises.test.model.where": "see {layer}",
    "exercises.test.model.also": "and more",
}
X = np.arange(6.0).reshape(2, 3)


@pytest.fixture(autouse=True)
def messages(monkeypatch):
    before = i18n.language()
    i18n.set_language("en")
    for lang in i18n.languages():
        for key, message in MESSAGES.items():
            monkeypatch.setitem(i18n.catalogue(lang), key, message)
    yield
    i18n.set_language(before)


@check("test.double")
def check_double(attempt: Attempt, answer) -> None:
    """Checks a function that doubles."""
    got = attempt.call(answer, X)
    mistakes = [(3 * X, "tripled"), (lambda array: array.shape == (3, 2), "transposed")]
    attempt.compare(got, 2 * X, mistakes=mistakes, factor=2)


@check("test.count")
def check_count(attempt: Attempt, answer) -> None:
    mistakes = [(6, "off_by_one"), (lambda array: array.dtype.kind == "f", "divided")]
    attempt.compare(answer, 5, mistakes=mistakes, reveal=False)


@check("test.model")
def check_model(attempt: Attempt, answer) -> None:
    attempt.criterion("layers", len(answer) == 2)
    attempt.criterion("bias", answer[0].bias is None)


def test_right():
    report = check_double(lambda x: 2 * x)
    assert report.passed and report.status == "passed"
    assert str(report) == "✓ double: Correct."


def _empty(x): ...


def _none(x):
    return None


def _todo(x):
    raise NotImplementedError


def _half_written(x):
    out = np.zeros_like(x)
    out[0] = ...
    return out


@pytest.mark.parametrize(
    "stub", [None, ..., _empty, _none, _todo, _half_written, lambda x: ..., lambda x: [1, ...]]
)
def test_not_answered(stub):
    report = check_double(stub)
    assert report.status == "unanswered" and not report.passed
    assert str(report).startswith("… double: No answer yet.")


@pytest.mark.parametrize("stub", [[1, None], (..., 2), {"a": ...}, np.array([None, 1]), [[1, [...]]]])
def test_not_answered_inside(stub):
    assert check_count(stub).status == "unanswered"


@pytest.mark.parametrize(
    ("answer", "hint", "words"),
    [
        (lambda x: 3 * x, "tripled", "three <times>, not `2`"),
        (lambda x: x.T, "transposed", "axes swapped"),
        (lambda x: x[:1], "shape", "should be `(2, 3)`, yours is `(1, 3)`"),
        (lambda x: 2 * x + (x > 3), "value", "at `[1, 1]` differs. It should be `8`, yours is `9` (2 of 6"),
        (lambda x: 2j * x, "value", "at `[0, 1]`"),
        (lambda x: np.full((2, 3), np.nan), "not_finite", "at `[0, 0]` is `nan`"),
        (lambda x: "six", "not_numeric", "this is `str`"),
        (lambda x: [[1, 2], [3]], "not_numeric", "this is `list`"),
        (lambda x: (2 * x).astype(complex), "dtype", "should be `float64`, yours is `complex128`"),
        (5, "not_callable", "this is `int`"),
    ],
)
def test_wrong(answer, hint, words):
    report = check_double(answer)
    assert (report.status, report.hint) == ("failed", hint)
    assert words in str(report)


def test_the_call_is_told():
    assert "`<lambda>(ndarray(2, 3))`" in str(check_double(lambda x: x))


def test_float_where_a_count_is_wanted():
    assert check_count(5).passed
    assert check_count(np.int32(5)).passed
    assert check_count(5.0).hint == "divided"
    assert check_count(6).hint == "off_by_one"


def test_a_hidden_value_is_not_told():
    assert check_count(7).messages == ("It is not `7`. Think once more.",)


def test_tensors_are_numbers():
    assert check_double(lambda x: 2 * torch.tensor(x, requires_grad=True)).passed


def broken(x):
    first = x[0]
    return first[99]


def test_an_exception_is_told_with_its_line():
    report = check_double(broken)
    line = inspect.getsourcelines(broken)[1] + 2
    assert report.hint == "raised"
    assert report.messages[0].startswith("IndexError while running your answer: index 99 is out of bounds")
    assert report.messages[1] == f"Line {line} of the answer's cell: `return first[99]`"


def test_an_exception_below_a_library_is_told_with_the_readers_line():
    def answer(x):
        return np.stack([x, x[0]])

    assert "`return np.stack([x, x[0]])`" in check_double(answer).messages[1]


def test_the_signature_does_not_fit():
    assert "takes 0 positional arguments" in str(check_double(lambda: 1))


def test_leaving_the_program_is_an_exception():
    def answer(x):
        raise SystemExit

    assert check_double(answer).hint == "raised"


def test_interrupting_works():
    def answer(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_double(answer)


def test_an_unforeseen_form_of_answer():
    report = check_model(3)
    assert report.hint == "cannot_check" and "TypeError" in str(report)


def test_addresses_do_not_show():
    def answer(x):
        raise ValueError(f"{object()}")

    assert "0x" not in str(check_double(answer))


def test_arguments_and_answers_are_copied():
    def answer(x):
        x *= 2
        return x

    before = X.copy()
    assert check_double(answer).passed
    assert np.array_equal(X, before)


def test_settings_of_torch_stay_as_they_are():
    def answer(x):
        torch.set_default_dtype(torch.float64), torch.set_grad_enabled(False), torch.set_num_threads(3)
        return 2 * x

    settings = (torch.get_default_dtype, torch.is_grad_enabled, torch.get_num_threads)
    before = [setting() for setting in settings]
    assert check_double(answer).passed
    assert [setting() for setting in settings] == before


def test_random_generators_stay_as_they_are():
    def answer(x):
        np.random.seed(0), random.seed(0), torch.manual_seed(0)
        return 2 * x

    np.random.seed(7), random.seed(7), torch.manual_seed(7)
    expected = np.random.rand(), random.random(), torch.rand(1).item()
    np.random.seed(7), random.seed(7), torch.manual_seed(7)
    assert check_double(answer).passed
    assert (np.random.rand(), random.random(), torch.rand(1).item()) == expected


def test_criteria():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    assert check_model(model).passed
    report = check_model(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()))
    assert report.status == "failed"
    assert [criterion[:2] for criterion in report.criteria] == [("layers", True), ("bias", False)]
    assert (report.score, report.max_score) == (0, 0)  # this one gives no points
    assert str(report) == "✗ model: Not correct yet.\n  ✓ layers\n  ✗ bias"


def test_html_is_escaped_and_without_script():
    html = check_double(lambda x: 3 * x)._repr_html_()
    assert "three &lt;times&gt;, not <code>2</code>" in html
    assert "<script" not in html and "#" not in html  # no colour of its own
    assert 'lang="en"' in html


@check("test.model")
def check_points(attempt, answer):
    attempt.criterion("layers", True, points=3)
    attempt.criterion("bias", answer, points=4, hints=() if answer else [Hint("where", {"layer": "`a`"})])
    attempt.remark("also")


def test_points_and_hints_stand_beside_their_criterion():
    assert check_points(True).score == 7 and check_points(True).messages == ()
    report = check_points(False)
    assert (report.score, report.max_score, report.hint) == (3, 7, "where")
    assert report.messages == ("see `a`", "and more")
    assert str(report).splitlines() == [
        "✗ model: Not correct yet. 3 / 7",
        *("  ✓ layers (3/3)", "  ✗ bias (0/4)", "      see `a`", "  and more"),
    ]
    html = report._repr_html_()
    assert html.index("bias") < html.index("see <code>a</code>") < html.index("0/4") < html.index("and more")


def test_html_shows_criteria():
    html = check_model(torch.nn.Sequential(torch.nn.Linear(2, 2)))._repr_html_()
    assert html.count("<tr>") == 2 and html.count("✗") == 3


@pytest.mark.parametrize("lang", ["ja", "ko", "en"])
def test_reports_are_the_same_each_time_and_in_the_language(lang):
    i18n.set_language(lang)
    first, second = check_double(broken), check_double(broken)
    assert repr(first) == repr(second) and first == second
    assert first.lang == lang
    assert first.verdict == i18n.text("exercises.common.failed")


def test_a_check_looks_like_a_function_of_the_answer():
    assert list(inspect.signature(check_double).parameters) == ["answer"]
    assert inspect.signature(check_double).return_annotation is Report
    assert check_double.__doc__ == "Checks a function that doubles."
