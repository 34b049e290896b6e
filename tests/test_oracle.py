"""The judge itself: `oracle.check` lets a right operation pass and stops every kind of wrong one."""

import numpy as np
import pytest
import torch
from oracle import assert_close, check

# The operation under test: y = x * w, whose gradients are (g * w, g * x).
X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
W = np.array([[2.0, 1.0, -1.0], [3.0, 0.0, 5.0]])
ON = pytest.mark.parametrize("on", [("numpy",), ("cpu",)], ids=["numpy", "torch"])


def multiply(x, w):
    return x * w


def multiply_backward(grad_out, x, w):
    return grad_out * w, grad_out * x


def run(forward=multiply, backward=multiply_backward, on=("numpy", "cpu"), inputs=(X, W)):
    check(forward, backward, torch.mul, [a.copy() for a in inputs], on=on)


def add_at_first(y, amount):
    """y with `amount` added to its first value, in a new array or tensor that autograd still follows."""
    error = y * 0
    error[0, 0] = amount
    return y + error


def test_a_right_operation_passes():
    run()
    run(backward=None)
    run(inputs=(X.astype(np.float32), W.astype(np.float32)))
    run(backward=None, inputs=(X.astype(np.int64), W.astype(np.int64)))
    run(inputs=(X[:0], W[:0]))


@ON
def test_a_wrong_value_fails(on):
    with pytest.raises(AssertionError, match=r"forward \((numpy|cpu)\)"):
        run(forward=lambda x, w: add_at_first(x * w, 1e-8), on=on)


@ON
def test_a_wrong_float32_value_fails(on):
    inputs = X.astype(np.float32), W.astype(np.float32)
    with pytest.raises(AssertionError, match=r"forward \((numpy|cpu)\)"):
        run(forward=lambda x, w: add_at_first(x * w, 5e-3), on=on, inputs=inputs)


@ON
def test_a_wrong_integer_fails(on):
    inputs = X.astype(np.int64), W.astype(np.int64)
    with pytest.raises(AssertionError, match=r"forward \((numpy|cpu)\)"):
        run(forward=lambda x, w: add_at_first(x * w, 1), backward=None, on=on, inputs=inputs)


@ON
def test_nan_where_torch_has_a_number_fails(on):
    with pytest.raises(AssertionError, match=r"forward \((numpy|cpu)\)"):
        run(forward=lambda x, w: add_at_first(x * w, float("nan")), on=on)


@ON
@pytest.mark.parametrize("reshape", [lambda y: y.reshape(3, 2), lambda y: y[None], lambda y: y[:1]])
def test_a_wrong_shape_fails(reshape, on):
    with pytest.raises(AssertionError, match=r"forward \(.+\): shape \(.+\), torch has \(2, 3\)"):
        run(forward=lambda x, w: reshape(x * w), on=on)


def test_a_wrong_dtype_fails():
    with pytest.raises(AssertionError, match=r"forward \(numpy\): dtype float32, torch has float64"):
        run(forward=lambda x, w: (x * w).astype(np.float32), on=("numpy",))
    with pytest.raises(AssertionError, match=r"forward \(cpu\): dtype float32, torch has float64"):
        run(forward=lambda x, w: (x * w).float(), on=("cpu",))


def test_a_result_of_another_kind_fails():
    with pytest.raises(AssertionError, match="got list, not an array"):
        run(forward=lambda x, w: (x * w).tolist(), on=("numpy",))
    with pytest.raises(AssertionError, match="on numpy: got Tensor"):
        run(forward=lambda x, w: torch.from_numpy(x * w), on=("numpy",))
    with pytest.raises(AssertionError, match="on cpu: got ndarray"):
        run(forward=lambda x, w: (x * w).numpy(), on=("cpu",))


@ON
def test_a_wrong_gradient_fails(on):
    with pytest.raises(AssertionError, match=r"backward \(.+\), gradient 1"):
        run(backward=lambda g, x, w: (g * w, add_at_first(g * x, 1e-8)), on=on)


@ON
def test_swapped_gradients_fail(on):
    with pytest.raises(AssertionError, match=r"backward \(.+\), gradient 0"):
        run(backward=lambda g, x, w: (g * x, g * w), on=on)


@ON
def test_a_gradient_of_wrong_shape_fails(on):
    with pytest.raises(
        AssertionError, match=r"backward \(.+\), gradient 0: shape \(3,\), torch has \(2, 3\)"
    ):
        run(backward=lambda g, x, w: ((g * w)[0], g * x), on=on)


def test_a_gradient_of_wrong_dtype_fails():
    with pytest.raises(AssertionError, match=r"backward \(numpy\), gradient 0: dtype float32"):
        run(backward=lambda g, x, w: ((g * w).astype(np.float32), g * x), on=("numpy",))
    with pytest.raises(AssertionError, match=r"backward \(cpu\), gradient 0: dtype float32"):
        run(backward=lambda g, x, w: ((g * w).float(), g * x), on=("cpu",))


@ON
def test_a_missing_gradient_fails(on):
    with pytest.raises(AssertionError, match="1 gradients, torch has 2"):
        run(backward=lambda g, x, w: g * w, on=on)
    with pytest.raises(AssertionError, match="gradient 1: got NoneType, not an array"):
        run(backward=lambda g, x, w: (g * w, None), on=on)


def test_a_forward_that_autograd_differentiates_wrongly_fails():
    with pytest.raises(AssertionError, match=r"autograd through forward \(cpu\), gradient 1"):
        run(forward=lambda x, w: x * (2 * w - w.detach()), on=("cpu",))


def test_a_forward_that_autograd_cannot_follow_fails():
    with pytest.raises(RuntimeError, match="does not require grad"):
        run(forward=lambda x, w: (x * w).detach(), on=("cpu",))


def spoil(array):
    """Change an array or tensor in place."""
    array[0, 0] += 1


@ON
@pytest.mark.parametrize("index", [0, 1])
def test_a_forward_that_changes_an_input_fails(index, on):
    def forward(*inputs):
        y = inputs[0] * inputs[1]
        spoil(inputs[index])
        return y

    with pytest.raises(AssertionError, match=rf"input {index} \(.+\) was changed in place"):
        run(forward=forward, backward=None, on=on)


@ON
@pytest.mark.parametrize(("index", "name"), [(0, "grad_out"), (1, "input 0"), (2, "input 1")])
def test_a_backward_that_changes_an_argument_fails(index, name, on):
    def backward(*arguments):
        grads = multiply_backward(*arguments)
        spoil(arguments[index])
        return grads

    with pytest.raises(AssertionError, match=rf"{name} \(.+\) was changed in place"):
        run(backward=backward, on=on)


def test_assert_close_scales_with_the_largest_value():
    wanted = torch.tensor([1e6, 1.0], dtype=torch.float64)
    assert_close(wanted.numpy() + 1e-5, wanted, "scaled")
    with pytest.raises(AssertionError, match="scaled"):
        assert_close(wanted.numpy() + 1e-3, wanted, "scaled")
