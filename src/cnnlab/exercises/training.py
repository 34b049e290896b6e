"""Checks of chapter `11_training`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.exercises.report import Attempt, check


@check("training.steps_per_epoch")
def check_steps_per_epoch(attempt: Attempt, answer) -> None:
    """Batches in an epoch, with and without the last smaller one; as `len` of a ``DataLoader``."""
    for samples, batch_size in ((60_000, 128), (1_437, 100), (1_200, 100), (7, 10)):
        for drop_last in (False, True):
            got = attempt.call(answer, samples, batch_size, drop_last)
            down, up = samples // batch_size, math.ceil(samples / batch_size)
            kept: list[tuple[float, str]] = [(down, "last_batch_forgotten"), (down + 1, "always_one_more")]
            mistakes = [(up, "drop_last_ignored")] if drop_last else kept
            mistakes = [*mistakes, (samples / batch_size, "fraction")]
            attempt.compare(got, down if drop_last else up, mistakes=mistakes)


@check("training.accuracy")
def check_accuracy(attempt: Attempt, answer) -> None:
    """Part of all samples that are classified correctly, in evaluation mode, with batches of any size."""
    # All 5 of the first batch are right, 1 of 4 in the second, 0 of 1 in the third.
    labels = [torch.tensor([0, 1, 2, 3, 4]), torch.tensor([1, 0, 0, 0]), torch.tensor([2])]
    classes = [torch.tensor([0, 1, 2, 3, 4]), torch.tensor([1, 1, 1, 1]), torch.tensor([0])]
    batches = [(F.one_hot(k, 5).float(), y) for k, y in zip(classes, labels, strict=True)]  # (N, 5), (N,)
    right, samples = [5, 1, 0], [5, 4, 1]
    want = sum(right) / sum(samples)  # 6 / 10
    shares = [r / n for r, n in zip(right, samples, strict=True)]
    got = attempt.call(answer, _Wavering(), batches)
    mistakes = [
        (100 * want, "percent"),
        (sum(shares) / 3, "mean_of_batches"),
        (sum(shares) / 2, "last_index"),
        (sum(right) / (3 * 5), "first_batch_size"),
        (sum(right[:2]) / sum(samples[:2]), "last_batch_forgotten"),
        (sum(right), "not_divided"),
        (0.0, "training_mode"),
        (1.0, "first_batch_only"),
    ]
    attempt.compare(got, want, mistakes=mistakes)


class _Wavering(nn.Module):
    """Gives its input back in evaluation mode, and never the right class in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, dims=1) if self.training else x  # (N, 5)

    def __repr__(self) -> str:
        return "model"


@check("training.momentum_step")
def check_momentum_step(attempt: Attempt, answer) -> None:
    """One step of SGD with momentum as `torch.optim.SGD` takes it."""
    w, velocity, grad = (torch.tensor(v) for v in ([1.0, -2.0], [0.5, 0.25], [4.0, -1.0]))
    for lr, momentum in ((0.1, 0.9), (0.05, 0.5)):
        got = attempt.call(answer, w, velocity, grad, lr, momentum)
        attempt.require(isinstance(got, (tuple, list)) and len(got) == 2, "not_a_pair")
        new = momentum * velocity + grad
        mistakes = [
            (_pair(w + lr * new, new), "uphill"),
            (_pair(w - lr * velocity, new), "old_velocity"),
            (_pair(w - lr * grad, new), "velocity_unused"),
            (_pair(w - lr * grad, grad), "no_momentum"),
            (_pair(w - lr * new, velocity), "velocity_not_returned"),
            (_pair(w - momentum * velocity - lr * grad, momentum * velocity + lr * grad), "lr_inside"),
            (_pair(new, w - lr * new), "swapped"),
        ]
        attempt.compare(_pair(*map(torch.as_tensor, got)), _pair(w - lr * new, new), mistakes=mistakes)


def _pair(w: Tensor, velocity: Tensor) -> Tensor:
    return torch.stack([w, velocity])  # (2, D)


@check("training.training_step")
def check_training_step(attempt: Attempt, answer) -> None:
    """Two steps in a row move the weights as two right ones do."""
    model, optimizer, batches = _start()
    losses = [attempt.call(answer, model, optimizer, x, y) for x, y in batches]
    attempt.require(all(isinstance(loss, float) for loss in losses), "not_a_float")
    got = _weights(model)
    start, _, _ = _start()
    attempt.require(not torch.equal(got, _weights(start)), "unchanged")
    for wrong, hint in ((_accumulating, "gradients_added"), (_late, "step_too_early"), (_softmax, "softmax")):
        attempt.require(not torch.allclose(got, _after_two(wrong)), hint)
    attempt.compare(got, _after_two(_right))


class _Net(nn.Linear):
    """A model whose copy is itself, since the optimizer holds its parameters."""

    def __deepcopy__(self, memo: dict) -> _Net:
        return self

    def __repr__(self) -> str:
        return "model"


class _SGD(torch.optim.SGD):
    def __deepcopy__(self, memo: dict) -> _SGD:
        return self

    def __repr__(self) -> str:
        return "optimizer"


def _start() -> tuple[_Net, _SGD, list[tuple[Tensor, Tensor]]]:
    """The same model, optimizer and two batches each time."""
    random = torch.Generator().manual_seed(0)
    model = _Net(3, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    images = [torch.randn(5, 3, generator=random), torch.randn(2, 3, generator=random)]
    return model, _SGD(model.parameters(), lr=0.5), [(x, torch.arange(len(x)) % 4) for x in images]


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _after_two(step) -> Tensor:
    model, optimizer, batches = _start()
    for x, y in batches:
        step(model, optimizer, x, y)
    return _weights(model)


def _right(model, optimizer, x, y) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def _accumulating(model, optimizer, x, y) -> None:
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def _late(model, optimizer, x, y) -> None:
    """Step first, so that it uses the gradient of the batch before."""
    optimizer.step()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()


def _softmax(model, optimizer, x, y) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x).softmax(dim=1), y).backward()
    optimizer.step()
