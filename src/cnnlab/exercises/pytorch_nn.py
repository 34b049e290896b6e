"""Checks of chapter `09_pytorch_nn`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.exercises.report import Attempt, check
from cnnlab.shapes import conv_output_size


@check("pytorch_nn.gradient")
def check_gradient(attempt: Attempt, gradient, new_w) -> None:
    """The gradient of (w x − t)² + w² at x = 3, t = 5, w = 1, and w after a step with learning rate 0.02."""
    w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    ((w * 3 - 5) ** 2 + w**2).backward()
    assert w.grad is not None
    right = w.grad.item()
    mistakes = [
        (-12, "one_path"),
        (2, "other_path"),
        (-2, "inner"),
        (-6, "inner_only"),
        (-right, "sign"),
        (5, "loss"),
    ]
    attempt.compare(gradient, right, mistakes=mistakes, reveal=False)
    step = [(1 + 0.02 * right, "uphill"), (1 - right, "no_rate"), (-0.02 * right, "change_only")]
    attempt.compare(new_w, 1 - 0.02 * right, mistakes=step, reveal=False)


@check("pytorch_nn.channel_scale")
def check_channel_scale(attempt: Attempt, answer) -> None:
    """A module that multiplies each channel by a number of its own and adds another one."""
    square = torch.arange(2.0 * 3 * 4 * 3).reshape(2, 3, 4, 3)  # (N, C, H, W), C = W: a wrong axis passes
    module = attempt.call(answer, 3)
    attempt.require(isinstance(module, nn.Module), "not_a_module")
    attempt.require("_parameters" in vars(module), "no_super")
    start = attempt.call(module, square)
    found = list(module.parameters())
    attempt.require(found, "not_registered")
    if len(found) == 1 and found[0].numel() == 3:
        attempt.fail("one_registered")
    attempt.require(sum(p.numel() for p in found) == 2 * 3, "count", count=sum(p.numel() for p in found))
    attempt.compare(start, square, mistakes=[(torch.zeros_like(square), "zeros")])
    ones = [bool((p == 1).all()) for p in found]
    attempt.require(sorted(ones) == [False, True], "start")
    scale, shift = found if ones[0] else found[::-1]
    values = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([10.0, 20.0, -30.0])
    with torch.no_grad():
        for parameter, value in zip((scale, shift), values, strict=True):
            parameter.copy_(value.reshape(parameter.shape))
    a, b = (value.view(1, 3, 1, 1) for value in values)  # (1, C, 1, 1)
    got = attempt.call(module, square)
    mistakes = [
        (square, "parameters_unused"),
        (square * values[0] + values[1], "wrong_axis"),
        (a * (square + b), "shift_first"),
        (a * square, "no_shift"),
        (square + b, "no_scale"),
    ]
    attempt.compare(got, a * square + b, mistakes=mistakes)
    lopsided = torch.arange(2.0 * 4 * 3 * 5).reshape(2, 4, 3, 5)  # (N, C, H, W)
    other = attempt.call(answer, 4)
    attempt.compare(attempt.call(other, lopsided), lopsided)
    attempt.call(other, lopsided).sum().backward()
    attempt.require(all(p.grad is not None for p in other.parameters()), "no_gradient")


@check("pytorch_nn.training_step")
def check_training_step(attempt: Attempt, answer) -> None:
    """Two steps of SGD with weight decay, by hand, move the weights as `torch.optim.SGD` does."""
    for lr, decay in ((0.5, 0.25), (0.2, 0.0)):
        net, batches = _start()
        losses = [attempt.call(answer, net, x, y, lr, decay) for x, y in batches]
        attempt.require(all(isinstance(loss, float) for loss in losses), "not_a_float")
        got, (want, right) = _weights(net), _by_torch(lr, decay)
        mistakes = [(_weights(_start()[0]), "unchanged")]
        for hint, change in _changes(lr, decay).items():
            mistakes.append((_by_hand(change, clear=hint != "gradients_added"), hint))
        attempt.compare(got, want, mistakes=mistakes)
        attempt.require(torch.allclose(torch.tensor(losses), torch.tensor(right), rtol=1e-4), "loss")


class _Net(nn.Linear):
    """A model whose copy is itself, since the step changes it."""

    def __deepcopy__(self, memo: dict) -> _Net:
        return self

    def __repr__(self) -> str:
        return "net"


def _start() -> tuple[_Net, list[tuple[Tensor, Tensor]]]:
    """The same model and the same two batches each time."""
    random = torch.Generator().manual_seed(0)
    net = _Net(3, 4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    images = [torch.randn(5, 3, generator=random), torch.randn(2, 3, generator=random)]
    return net, [(x, torch.arange(len(x)) % 4) for x in images]


def _weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def _by_torch(lr: float, decay: float) -> tuple[Tensor, list[float]]:
    """Weights after two steps of torch's optimizer, and the losses on the way."""
    net, batches = _start()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, weight_decay=decay)
    losses = []
    for x, y in batches:
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return _weights(net), losses


def _by_hand(change: Callable[[Tensor, Tensor], Tensor], *, clear: bool) -> Tensor:
    """Weights after two steps that take ``change(w, g)`` away from each parameter."""
    net, batches = _start()
    for x, y in batches:
        if clear:
            net.zero_grad()
        F.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for p in net.parameters():
                assert p.grad is not None
                p.sub_(change(p, p.grad))
    return _weights(net)


def _changes(lr: float, decay: float) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """What is taken away from a parameter, with the hint for it."""
    return {
        "gradients_added": lambda w, g: lr * (g + decay * w),  # right, but for the old gradient in g
        "no_decay": lambda w, g: lr * g,
        "uphill": lambda w, g: -lr * (g + decay * w),
        "decay_away": lambda w, g: lr * (g - decay * w),
        "decay_without_rate": lambda w, g: lr * g + decay * w,
        "decay_without_w": lambda w, g: lr * (g + decay),
        "no_rate": lambda w, g: g + decay * w,
    }


@check("pytorch_nn.small_kernels")
def check_small_kernels(attempt: Attempt, flatten_size, parameter_count) -> None:
    """What `Net` becomes with 3×3 filters: the length after flattening, and the number of parameters."""
    side = 32
    for _ in range(2):
        side = conv_output_size(side, 3) // 2
    size = 16 * side**2
    sizes = [
        (400, "old_size"),
        (16 * 7 * 7, "rounded_up"),
        (side**2, "one_channel"),
        (16 * side, "one_side"),
        (16 * 8 * 8, "padded"),
        (6 * side**2, "first_channels"),
    ]
    attempt.compare(flatten_size, size, mistakes=sizes, reveal=False)
    shapes = [(6, 1, 3, 3), (16, 6, 3, 3), (120, size), (84, 120), (10, 84)]
    weights = sum(torch.Size(shape).numel() for shape in shapes)
    biases = sum(shape[0] for shape in shapes)
    counts = [
        (weights, "no_bias"),
        (61_706, "old_count"),
        (weights + biases - 16 * 9 * 5, "one_input_channel"),
        (weights + biases - 120 * (size - 400), "old_fc1"),
    ]
    attempt.compare(parameter_count, weights + biases, mistakes=counts, reveal=False)
