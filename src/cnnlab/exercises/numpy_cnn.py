"""Checks of chapter `08_numpy_cnn`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cnnlab.exercises.report import Attempt, check
from cnnlab.gradcheck import numerical_gradient


@check("numpy_cnn.score_gradient")
def check_score_gradient(attempt: Attempt, answer) -> None:
    """Gradient of the loss with respect to the scores, from probabilities and right classes."""
    p = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])  # (2, 3)
    target = np.array([[0.0, 1, 0], [1, 0, 0]])
    one_later = np.array([[1.0, 0, 0], [0, 0, 1]])  # classes counted from 1; 0 becomes the last
    mistakes = [
        (p - target, "not_averaged"),
        ((target - p) / 2, "sign"),
        (target - p, "sign"),
        (p / 2, "nothing_subtracted"),
        (p * target / 2 - target / 2, "right_class_only"),
        (((p - target) / 3), "divided_by_classes"),
        (((p - target) / 6), "divided_by_classes"),
        ((p - one_later) / 2, "counted_from_one"),
        (((p - target) / 2).T, "transposed"),
    ]
    attempt.compare(answer, (p - target) / 2, mistakes=mistakes, reveal=False)


@check("numpy_cnn.sigmoid")
def check_sigmoid(attempt: Attempt, answer) -> None:
    """A layer whose forward is 1 / (1 + exp(-x)), and whose backward is its numerical gradient."""
    attempt.require(isinstance(answer, type), "not_a_class")
    for seed, shape in enumerate([(3,), (2, 3), (2, 3, 4, 2)]):
        x, grad_out = np.random.default_rng(seed).normal(size=(2, *shape))
        layer = attempt.call(answer)
        out = attempt.call(layer.forward, x)
        s = _sigmoid(x)
        attempt.compare(out, s, mistakes=[(1 - s, "sign_of_x")])
        grad_x = attempt.call(layer.backward, grad_out)
        want = numerical_gradient(partial(_loss, grad_out), x)
        g = _sigmoid(grad_out)
        mistakes = [
            (s * (1 - s), "grad_out_forgotten"),
            (grad_out * s, "factor_missing"),
            (grad_out * (1 - s), "factor_missing"),
            (grad_out * x * (1 - x), "x_instead_of_output"),
            (g * (1 - g), "grad_out_through_forward"),
            (grad_out * np.where(x > 0, 1.0, 0.0), "relu"),
            (-grad_out * s * (1 - s), "sign"),
            (grad_out + s * (1 - s), "added"),
        ]
        attempt.compare(grad_x, want, mistakes=mistakes, rtol=1e-4, atol=1e-6)
    first, second = attempt.call(answer), attempt.call(answer)
    near, far = np.array([0.5, -1.0]), np.array([3.0, 2.0])
    attempt.call(first.forward, near)
    attempt.call(second.forward, far)
    own = attempt.call(first.backward, np.ones(2))
    attempt.require(not np.allclose(own, _slope(far)), "shared_memory")
    attempt.compare(own, _slope(near), rtol=1e-4)


@check("numpy_cnn.two_steps")
def check_two_steps(attempt: Attempt, answer) -> None:
    """The weight after each of two steps of SGD with momentum 0.5: v = 4, then 0.5 * 4 + 3 = 5."""
    mistakes: list[tuple[Any, str]] = [
        ([0.6, 0.3], "no_momentum"),
        ([1.4, 1.9], "uphill"),
        ([0.8, 0.55], "gradient_damped"),
        ([0.6, -0.1], "momentum_is_one"),
        ([4.0, 5.0], "velocities"),
        ([0.6, 0.5], "from_the_start"),
        ([-3.0, -8.0], "no_learning_rate"),
        ([0.1], "last_only"),
        (0.1, "last_only"),
    ]
    attempt.compare(answer, [0.6, 0.1], mistakes=mistakes, reveal=False)


@check("numpy_cnn.parameter_count")
def check_parameter_count(attempt: Attempt, answer) -> None:
    """Parameters of the five layers that have some; 28 → 24 → 12 → 8 → 4, so 16 * 4 * 4 = 256 features."""
    want = np.array([156, 2_416, 30_840, 10_164, 850])
    mistakes = [
        ([150, 2_400, 30_720, 10_080, 840], "no_bias"),
        ([156, 416, *want[2:]], "channels_forgotten"),
        ([156, 2_406, *want[2:]], "one_bias_per_channel"),
        (_with_features(400), "padded"),
        (_with_features(16 * 8 * 8), "second_pooling_forgotten"),
        (_with_features(16 * 20 * 20), "pooling_forgotten"),
        (_with_features(16 * 7 * 7), "convolution_keeps_size"),
        (_with_features(16), "flattened_channels_only"),
        (int(want.sum()), "total_only"),
    ]
    attempt.compare(answer, want, mistakes=mistakes, reveal=False)


def _with_features(count: int) -> list[int]:
    """The five numbers if the first fully connected layer took `count` inputs."""
    return [156, 2_416, (count + 1) * 120, 10_164, 850]


def _loss(grad_out: np.ndarray, x: np.ndarray) -> float:
    return float(np.sum(grad_out * _sigmoid(x)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _slope(x: np.ndarray) -> np.ndarray:
    return _sigmoid(x) * (1 - _sigmoid(x))
