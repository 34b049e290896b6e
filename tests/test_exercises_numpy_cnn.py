"""Exercises of chapter `08_numpy_cnn` in every language."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reports import failed

from cnnlab import layers
from cnnlab.exercises.numpy_cnn import (
    check_parameter_count,
    check_score_gradient,
    check_sigmoid,
    check_two_steps,
)

in_each_language = pytest.mark.usefixtures("language")

# Exercise 1: the gradient of the scores

P = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
RIGHT = np.array([[0, 1, 0], [1, 0, 0]])
GRADIENT = [[0.1, -0.25, 0.15], [-0.45, 0.05, 0.4]]


@pytest.mark.parametrize("answer", [GRADIENT, np.array(GRADIENT), (P - RIGHT) / 2])
def test_score_gradient_solution(answer) -> None:
    assert check_score_gradient(answer).passed


def test_score_gradient_is_that_of_torch() -> None:
    scores = torch.tensor(np.log(P)).requires_grad_()
    torch.nn.functional.cross_entropy(scores, torch.tensor([1, 0])).backward()
    np.testing.assert_allclose(scores.grad, GRADIENT, atol=1e-12)


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (P - RIGHT, "not_averaged"),
        (RIGHT - P, "sign"),
        ((RIGHT - P) / 2, "sign"),
        (P / 2, "nothing_subtracted"),
        ([[0, -0.25, 0], [-0.45, 0, 0]], "right_class_only"),
        ((P - RIGHT) / 3, "divided_by_classes"),
        ((P - RIGHT) / P.size, "divided_by_classes"),
        ([[-0.4, 0.25, 0.15], [0.05, 0.05, -0.1]], "counted_from_one"),
        (np.array(GRADIENT).T, "transposed"),
        ([0.1, -0.25, 0.15], "shape"),
        ([[0.1, -0.25, 0.15], [-0.45, 0.05, 0.5]], "value"),
    ],
)
def test_score_gradient_mistakes(answer, hint: str) -> None:
    report = check_score_gradient(answer)
    failed(report, hint)
    assert "-0.45" not in str(report)


@in_each_language
def test_score_gradient_stub() -> None:
    assert check_score_gradient(...).status == "unanswered"
    assert check_score_gradient([[0.1, ..., ...], [..., ..., ...]]).status == "unanswered"


# Exercise 2: a layer


class Sigmoid:
    def forward(self, x):
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, grad_out):
        return grad_out * self.out * (1 - self.out)


class FromInput(layers.Layer):
    def forward(self, x):
        self.x = x
        return 0.5 * (1 + np.tanh(x / 2))

    def backward(self, grad_out):
        e = np.exp(-self.x)
        return grad_out * e / (1 + e) ** 2


@pytest.mark.parametrize("answer", [Sigmoid, FromInput])
def test_sigmoid_solutions(answer) -> None:
    assert check_sigmoid(answer).passed, check_sigmoid(answer)


def with_backward(rule) -> type:
    return type("Sigmoid", (Sigmoid,), {"backward": lambda self, grad_out: rule(grad_out, self.out)})


class UpsideDown(Sigmoid):
    def forward(self, x):
        return super().forward(-x)


class Shared:
    memory: list = []

    def forward(self, x):
        self.memory[:] = [1 / (1 + np.exp(-x))]
        return self.memory[0]

    def backward(self, grad_out):
        return grad_out * self.memory[0] * (1 - self.memory[0])


class OfInput(FromInput):
    def backward(self, grad_out):
        return grad_out * self.x * (1 - self.x)


class OfReLU(FromInput):
    def backward(self, grad_out):
        return np.where(self.x > 0, grad_out, 0)


class NotRemembered:
    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, grad_out):
        s = self.forward(grad_out)
        return s * (1 - s)


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (Sigmoid(), "not_a_class"),
        (UpsideDown, "sign_of_x"),
        (with_backward(lambda g, s: s * (1 - s)), "grad_out_forgotten"),
        (with_backward(lambda g, s: g * s), "factor_missing"),
        (with_backward(lambda g, s: g * (1 - s)), "factor_missing"),
        (with_backward(lambda g, s: -g * s * (1 - s)), "sign"),
        (with_backward(lambda g, s: g + s * (1 - s)), "added"),
        (with_backward(lambda g, s: g * s * (1 - s) ** 2), "value"),
        (with_backward(lambda g, s: (g * s * (1 - s)).sum()), "shape"),
        (OfInput, "x_instead_of_output"),
        (OfReLU, "relu"),
        (NotRemembered, "grad_out_through_forward"),
        (Shared, "shared_memory"),
    ],
)
def test_sigmoid_mistakes(answer, hint: str) -> None:
    failed(check_sigmoid(answer), hint)


@in_each_language
def test_sigmoid_that_raises_or_is_half_written() -> None:
    failed(check_sigmoid(type("Sigmoid", (), {"forward": lambda self: 0})), "raised")
    half = type("Sigmoid", (Sigmoid,), {"backward": lambda self, grad_out: ...})
    assert check_sigmoid(half).status == "unanswered"
    assert check_sigmoid(...).status == "unanswered"


# Exercise 3: two steps


def test_two_steps_solution_is_what_the_optimizer_does() -> None:
    w = layers.Parameter(np.array(1.0))
    optimizer, path = layers.SGD([w], lr=0.1, momentum=0.5), []
    for grad in (4.0, 3.0):
        w.grad = np.array(grad)
        optimizer.step()
        path.append(float(w.data))
    assert check_two_steps(path).passed
    assert check_two_steps((0.6, 0.1)).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ([0.6, 0.3], "no_momentum"),
        ([1.4, 1.9], "uphill"),
        ([0.8, 0.55], "gradient_damped"),
        ([0.6, -0.1], "momentum_is_one"),
        ([4, 5], "velocities"),
        ([0.6, 0.5], "from_the_start"),
        ([-3, -8], "no_learning_rate"),
        ([0.1], "last_only"),
        (0.1, "last_only"),
        ([0.6, 0.2], "value"),
    ],
)
def test_two_steps_mistakes(answer, hint: str) -> None:
    failed(check_two_steps(answer), hint)


@in_each_language
def test_two_steps_stub() -> None:
    assert check_two_steps(...).status == "unanswered"
    assert check_two_steps([0.6, ...]).status == "unanswered"


# Exercise 4: parameters

COUNTS = [156, 2416, 30840, 10164, 850]


def test_parameter_count_solution_is_what_the_layers_have() -> None:
    rng = np.random.default_rng(0)
    net = layers.Sequential(
        *(layers.Conv2d(1, 6, 5, rng=rng), layers.ReLU(), layers.MaxPool2d(2)),
        *(layers.Conv2d(6, 16, 5, rng=rng), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten()),
        *(layers.Linear(256, 120, rng=rng), layers.ReLU(), layers.Linear(120, 84, rng=rng), layers.ReLU()),
        layers.Linear(84, 10, rng=rng),
    )
    assert net(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 10)
    counts = [sum(p.data.size for p in layer.parameters()) for layer in net.layers]
    assert [count for count in counts if count] == COUNTS
    assert check_parameter_count(COUNTS).passed
    assert check_parameter_count(np.array(COUNTS)).passed


def features(count: int) -> list[int]:
    return [156, 2416, (count + 1) * 120, 10164, 850]


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ([150, 2400, 30720, 10080, 840], "no_bias"),
        ([156, 416, 30840, 10164, 850], "channels_forgotten"),
        ([156, 2406, 30840, 10164, 850], "one_bias_per_channel"),
        (features(16 * 5 * 5), "padded"),
        (features(16 * 8 * 8), "second_pooling_forgotten"),
        (features(16 * 20 * 20), "pooling_forgotten"),
        (features(16 * 7 * 7), "convolution_keeps_size"),
        (features(16), "flattened_channels_only"),
        (sum(COUNTS), "total_only"),
        ([156, 2416, 30840, 10164, 851], "value"),
        (COUNTS[:4], "shape"),
    ],
)
def test_parameter_count_mistakes(answer, hint: str) -> None:
    failed(check_parameter_count(answer), hint)


@in_each_language
def test_parameter_count_stub() -> None:
    assert check_parameter_count(...).status == "unanswered"
