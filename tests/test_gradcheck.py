"""Numerical gradients: right on functions known by heart, and quick to find a wrong backward."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab import ops
from cnnlab.gradcheck import GradientError, check_gradients, numerical_gradient


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# --- numerical_gradient --------------------------------------------------------------------------------


def test_gradient_by_hand():
    # d(x² + 3y) = (2x, 3); at (2, 5): (4, 3).
    grad = numerical_gradient(lambda v: v[0] ** 2 + 3 * v[1], np.array([2.0, 5.0]))
    assert_allclose(grad, [4, 3], atol=1e-8)
    assert grad.dtype == np.float64


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3, 2), (0, 4)], ids=str)
def test_gradient_of_any_shape(shape):
    x = np.asarray(normal(*shape))
    grad = numerical_gradient(lambda v: np.sin(v).sum(), x)
    assert grad.shape == shape
    assert_allclose(grad, np.cos(x), atol=1e-8)


@pytest.mark.parametrize(
    "x", [normal(4, 3).T, normal(6, 8)[::2, ::-2], np.broadcast_to(normal(1, 3), (2, 3))], ids=str
)
def test_gradient_of_arrays_that_are_not_contiguous(x):
    assert_allclose(numerical_gradient(lambda v: (v**3).sum(), x), 3 * x**2, atol=1e-8)


def test_x_is_unchanged():
    x = normal(2, 3)
    before = x.copy()
    numerical_gradient(lambda v: (v**2).sum(), x)
    assert_array_equal(x, before)


def test_a_larger_step_is_less_exact():
    x = np.array([1.0])
    # (x + e)³ - (x - e)³ = 6 x² e + 2 e³: with e = 0.1 the slope is 3 + 0.01.
    assert_allclose(numerical_gradient(lambda v: v[0] ** 3, x, eps=0.1), [3.01], atol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([1, 2]), "x must be a NumPy array of float64, got one of int64"),
        (np.array([1.0], np.float32), "x must be a NumPy array of float64, got one of float32"),
        ([1.0, 2.0], "x must be a NumPy array of float64, got list"),
        (1.0, "x must be a NumPy array of float64, got float"),
        (torch.ones(2, dtype=torch.float64), "x must be a NumPy array of float64, got Tensor"),
    ],
)
def test_only_float64_arrays(x, message):
    with pytest.raises(TypeError, match=message):
        numerical_gradient(np.sum, x)


def test_the_function_must_give_one_number():
    with pytest.raises(ValueError, match=r"must give one number, got an array of shape \(2,\)"):
        numerical_gradient(lambda v: v**2, np.ones(2))


@pytest.mark.parametrize("eps", [0, -1e-6, float("nan")])
def test_the_step_must_be_positive(eps):
    with pytest.raises(ValueError, match=f"eps must be positive, got {eps}"):
        numerical_gradient(np.sum, np.ones(2), eps=eps)


# --- check_gradients: what chapter 07 checks -----------------------------------------------------------

OPTIONS = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
POOL = {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 1)}


def without_bias(grad_out, x, weight, bias):
    return ops.conv2d_backward(grad_out, x, weight, **OPTIONS)


def times(backward):
    """A backward of a loss takes no grad_out; here it gets one, a number."""
    return lambda grad_out, *inputs: grad_out * backward(*inputs)


OPERATIONS = {
    "conv2d": (
        partial(ops.conv2d, **OPTIONS),
        without_bias,
        (normal(2, 4, 5, 6), normal(6, 2, 3, 2), normal(6)),
    ),
    "max_pool2d": (
        partial(ops.max_pool2d, **POOL),
        partial(ops.max_pool2d_backward, **POOL),
        (normal(2, 3, 5, 6),),
    ),
    "avg_pool2d": (
        partial(ops.avg_pool2d, **POOL),
        partial(ops.avg_pool2d_backward, **POOL),
        (normal(2, 3, 5, 6),),
    ),
    "relu": (ops.relu, ops.relu_backward, (normal(3, 4),)),
    "linear": (
        ops.linear,
        lambda grad_out, x, weight, bias: ops.linear_backward(grad_out, x, weight),
        (normal(3, 4), normal(2, 4), normal(2)),
    ),
    "cross_entropy": (
        ops.cross_entropy,
        times(ops.cross_entropy_backward),
        (normal(3, 4), np.array([1, 0, 3])),
    ),
    "im2col": (
        lambda x: ops.im2col(x, (2, 3), padding=1),
        lambda grad_out, x: ops.col2im(grad_out, x.shape[2:], padding=1),
        (normal(2, 3, 4, 5),),
    ),
    "empty batch": (ops.relu, ops.relu_backward, (normal(0, 4),)),
}


@pytest.mark.parametrize(("forward", "backward", "inputs"), OPERATIONS.values(), ids=OPERATIONS)
def test_right_gradients_pass(forward, backward, inputs):
    before = [a.copy() for a in inputs]
    error = check_gradients(forward, backward, *inputs)
    assert isinstance(error, float) and 0 <= error < 1e-7
    for a, b in zip(inputs, before, strict=True):
        assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_error():
    forward, backward, inputs = OPERATIONS["linear"]
    assert check_gradients(forward, backward, *inputs) == check_gradients(forward, backward, *inputs)
    assert check_gradients(forward, backward, *inputs) != check_gradients(forward, backward, *inputs, seed=1)


# --- wrong backwards -----------------------------------------------------------------------------------

X, WEIGHT, BIAS = normal(2, 2, 4, 5), normal(3, 2, 2, 3), normal(3)


def conv2d_backward(grad_out, x, weight, bias):
    return ops.conv2d_backward(grad_out, x, weight)


def turned(grad_out, x, weight, bias):
    """The classic mistake: gradients sent back through the filter as if it were turned round."""
    grad_x, _, _ = ops.conv2d_backward(grad_out, x, weight[:, :, ::-1, ::-1])
    return grad_x, *ops.conv2d_backward(grad_out, x, weight)[1:]


def mean_bias(grad_out, x, weight, bias):
    return *ops.conv2d_backward(grad_out, x, weight)[:2], grad_out.mean(axis=(0, 2, 3))


@pytest.mark.parametrize(
    ("backward", "name"),
    [(turned, "x"), (mean_bias, "bias"), (lambda *a: (conv2d_backward(*a)[0], 2 * a[2], a[3]), "weight")],
)
def test_a_wrong_gradient_is_named(backward, name):
    with pytest.raises(
        GradientError, match=rf"gradient of {name} is wrong at index \(.+\): got .+, wanted .+"
    ):
        check_gradients(ops.conv2d, backward, X, WEIGHT, BIAS)


def test_the_worst_place_is_named_with_both_values():
    def backward(grad_out, x):
        grad_x = grad_out * 3
        grad_x[1, 2] = 100
        grad_x[0, 0] += 0.01
        return grad_x

    grad_out = np.random.default_rng(0).standard_normal((2, 3))
    with pytest.raises(GradientError) as caught:
        check_gradients(lambda x: 3 * x, backward, normal(2, 3))
    message = str(caught.value)
    assert message.startswith("gradient of x is wrong at index (1, 2): got 100, wanted ")
    assert f"wanted {3 * grad_out[1, 2]:.6f}" in message
    assert message.endswith("allowed 1.0e-06)")
    assert isinstance(caught.value, AssertionError)


def test_a_slightly_wrong_gradient_is_found():
    with pytest.raises(GradientError, match="gradient of x"):
        check_gradients(np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2) * (1 + 1e-5), normal(5))
    check_gradients(np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2) * (1 + 1e-5), normal(5), tolerance=1e-4)


def test_nan_is_wrong():
    with pytest.raises(GradientError, match=r"index \(1,\): got nan"):
        check_gradients(lambda x: 2 * x, lambda g, x: np.array([2 * g[0], np.nan]), normal(2))


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda *a: conv2d_backward(*a)[:2], r"backward must give 3 gradients \(x, weight, bias\), got 2"),
        (lambda *a: conv2d_backward(*a)[0], r"must give 3 gradients \(x, weight, bias\), got 1"),
        (lambda *a: (*conv2d_backward(*a)[:2], None), "gradient of bias: must be an array, got NoneType"),
        (
            lambda *a: (conv2d_backward(*a)[0][0], *conv2d_backward(*a)[1:]),
            r"gradient of x: must have shape \(2, 2, 4, 5\), got \(2, 4, 5\)",
        ),
    ],
)
def test_a_missing_gradient_or_wrong_shape_is_named(backward, message):
    with pytest.raises(GradientError, match=message):
        check_gradients(ops.conv2d, backward, X, WEIGHT, BIAS)


def test_inputs_without_a_name_are_counted():
    with pytest.raises(GradientError, match=r"gradient of input 1 is wrong"):
        check_gradients(lambda *a: a[0] * a[1], lambda g, x, y: (g * y, g * y), normal(3), normal(3, seed=1))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((normal(2).astype(np.float32),), "input 0 must be a NumPy array of float64, got one of float32"),
        ((normal(2), [1.0]), "input 1 must be a NumPy array of float64, got list"),
        ((np.arange(3),), "there must be at least one input of float64, got none"),
        ((), "there must be at least one input of float64, got none"),
    ],
)
def test_inputs_of_other_kinds(inputs, message):
    with pytest.raises(TypeError, match=message):
        check_gradients(lambda *a: a[0], lambda g, *a: g, *inputs)
