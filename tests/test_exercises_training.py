"""Exercises of chapter `11_training` in every language, and the folded solutions of the notebooks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from reports import failed

from cnnlab.exercises import Report
from cnnlab.exercises.training import (
    check_accuracy,
    check_momentum_step,
    check_steps_per_epoch,
    check_training_step,
)

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


in_each_language = pytest.mark.usefixtures("language")

# Exercise 1: steps in an epoch


def steps_per_epoch(samples: int, batch_size: int, drop_last: bool) -> int:
    return samples // batch_size if drop_last else math.ceil(samples / batch_size)


def test_steps_per_epoch_solution() -> None:
    assert check_steps_per_epoch(steps_per_epoch).passed


def test_steps_per_epoch_are_those_of_a_data_loader() -> None:
    for drop_last in (False, True):
        loader = torch.utils.data.DataLoader(range(1437), batch_size=128, drop_last=drop_last)
        assert len(loader) == steps_per_epoch(1437, 128, drop_last)


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda samples, batch_size, drop_last: samples / batch_size, "fraction"),
        (lambda samples, batch_size, drop_last: samples // batch_size, "last_batch_forgotten"),
        (lambda samples, batch_size, drop_last: math.ceil(samples / batch_size), "drop_last_ignored"),
        (lambda samples, batch_size, drop_last: samples // batch_size + (not drop_last), "always_one_more"),
        (lambda samples, batch_size, drop_last: 3, "value"),
        (469, "not_callable"),
    ],
)
def test_steps_per_epoch_mistakes(answer: object, hint: str) -> None:
    failed(check_steps_per_epoch(answer), hint)


# Exercise 2: accuracy


def counted(model, batches) -> tuple[list[int], list[int]]:
    """Right answers and images, batch by batch."""
    model.eval()
    with torch.no_grad():
        right = [int((model(x).argmax(1) == y).sum()) for x, y in batches]
    return right, [len(y) for _, y in batches]


def accuracy(model, batches) -> float:
    right, samples = counted(model, batches)
    return sum(right) / sum(samples)


def accuracy_as_tensor(model, batches) -> torch.Tensor:
    right, samples = counted(model, batches)
    return torch.tensor(sum(right), dtype=torch.float64) / sum(samples)


def in_training_mode(model, batches) -> float:
    right = [int((model(x).argmax(1) == y).sum()) for x, y in batches]
    return sum(right) / sum(len(y) for _, y in batches)


def mean_of_batches(model, batches) -> float:
    right, samples = counted(model, batches)
    return sum(r / n for r, n in zip(right, samples)) / len(batches)


def by_last_index(model, batches) -> float:
    right, samples = counted(model, batches)
    return sum(r / n for r, n in zip(right, samples)) / (len(batches) - 1)


def one_size(model, batches) -> float:
    right, samples = counted(model, batches)
    return sum(right) / (samples[0] * len(batches))


@pytest.mark.parametrize("answer", [accuracy, accuracy_as_tensor])
def test_accuracy_solution(answer: Callable[..., object]) -> None:
    assert check_accuracy(answer).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (in_training_mode, "training_mode"),
        (mean_of_batches, "mean_of_batches"),
        (by_last_index, "last_index"),
        (one_size, "first_batch_size"),
        (lambda model, batches: 100 * accuracy(model, batches), "percent"),
        (lambda model, batches: accuracy(model, batches[:-1]), "last_batch_forgotten"),
        (lambda model, batches: accuracy(model, batches[:1]), "first_batch_only"),
        (lambda model, batches: sum(counted(model, batches)[0]), "not_divided"),
        (lambda model, batches: 0.123, "value"),
        (lambda model, batches: model.missing, "raised"),
    ],
)
def test_accuracy_mistakes(answer: object, hint: str) -> None:
    failed(check_accuracy(answer), hint)


# Exercise 3: momentum


def momentum_step(w, v, grad, lr, momentum):
    v = momentum * v + grad
    return w - lr * v, v


def test_momentum_step_solution() -> None:
    assert check_momentum_step(momentum_step).passed


def test_momentum_step_is_that_of_torch() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    w, v = weight.detach().clone(), torch.zeros(2)
    for grad in (torch.tensor([4.0, -1.0]), torch.tensor([0.5, 2.0])):
        weight.grad = grad.clone()
        optimizer.step()
        w, v = momentum_step(w, v, grad, 0.1, 0.9)
        torch.testing.assert_close(weight.detach(), w)


def lr_inside(w, v, grad, lr, momentum):
    v = momentum * v + lr * grad
    return w - v, v


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda w, v, grad, lr, momentum: (w + lr * (momentum * v + grad), momentum * v + grad), "uphill"),
        (lambda w, v, grad, lr, momentum: (w - lr * v, momentum * v + grad), "old_velocity"),
        (lambda w, v, grad, lr, momentum: (w - lr * grad, momentum * v + grad), "velocity_unused"),
        (lambda w, v, grad, lr, momentum: (w - lr * grad, grad), "no_momentum"),
        (lambda w, v, grad, lr, momentum: (w - lr * (momentum * v + grad), v), "velocity_not_returned"),
        (lambda *given: momentum_step(*given)[::-1], "swapped"),
        (lambda *given: momentum_step(*given)[0], "not_a_pair"),
        (lambda *given: 3.0, "not_a_pair"),
        (lr_inside, "lr_inside"),
        (lambda *given: (torch.zeros(2), torch.zeros(2)), "value"),
    ],
)
def test_momentum_step_mistakes(answer: object, hint: str) -> None:
    failed(check_momentum_step(answer), hint)


# Exercise 4: a training step


def training_step(model, optimizer, x, y) -> float:
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def no_zero_grad(model, optimizer, x, y) -> float:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def zeroed_between(model, optimizer, x, y) -> float:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def step_first(model, optimizer, x, y) -> float:
    loss = F.cross_entropy(model(x), y)
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


def softmax_twice(model, optimizer, x, y) -> float:
    loss = F.cross_entropy(model(x).softmax(dim=1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def returns_tensor(model, optimizer, x, y) -> torch.Tensor:
    training_step(model, optimizer, x, y)
    return F.cross_entropy(model(x), y)


def twice(model, optimizer, x, y) -> float:
    training_step(model, optimizer, x, y)
    return training_step(model, optimizer, x, y)


def test_training_step_solution() -> None:
    assert check_training_step(training_step).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (no_zero_grad, "gradients_added"),
        (zeroed_between, "unchanged"),
        (step_first, "step_too_early"),
        (softmax_twice, "softmax"),
        (returns_tensor, "not_a_float"),
        (twice, "value"),
        (3, "not_callable"),
    ],
)
def test_training_step_mistakes(answer: object, hint: str) -> None:
    failed(check_training_step(answer), hint)


# Stubs


def stub(*args: object, **kwargs: object) -> None: ...


def stub_returning_ellipsis(*args: object, **kwargs: object) -> object:
    return ...


def stub_raising(*args: object, **kwargs: object) -> None:
    raise NotImplementedError


CHECKS = [check_steps_per_epoch, check_accuracy, check_momentum_step, check_training_step]


@in_each_language
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("answer", [stub, stub_returning_ellipsis, stub_raising, ..., None])
def test_stubs(check: Callable[[object], Report], answer: object) -> None:
    assert check(answer).status == "unanswered"


# The chapter itself


def chapter(lang: str) -> dict[str, str]:
    """Sources of the cells of the chapter, by id."""
    notebook = nbformat.read(NOTEBOOKS / lang / "11_training.ipynb", as_version=4)
    return {cell.id: cell.source for cell in notebook.cells}


def defined(source: str, name: str) -> object:
    known: dict[str, object] = {"torch": torch, "F": F, "math": math}
    exec(source, known)
    return known[name]


@pytest.mark.parametrize("lang", ["ja", "ko"])
def test_broken_step_of_the_exercise_fails(lang: str) -> None:
    (broken,) = re.findall(r"```python\n(.*?)```", chapter(lang)["exercise-4"], flags=re.DOTALL)
    assert check_training_step(defined(broken, "training_step")).status == "failed"
