"""Every operation against torch, by hand, and with the mistakes that readers make.

Shapes are lopsided (N, C, H, W, KH, KW, steps and padding all differ), so that no two axes can be swapped
unseen.
"""

import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracle import DEVICES, assert_close, check

from cnnlab import ops

DTYPES = [np.float64, np.float32]
DTYPE_IDS = ["float64", "float32"]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
each_device = pytest.mark.parametrize("device", DEVICES)


def normal(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def whole(*shape, dtype=np.float64, seed=0):
    """Whole numbers from -2 to 2: full of ties."""
    return np.random.default_rng([seed, *shape]).integers(-2, 3, shape).astype(dtype)


# --- each operation as oracle.check wants it -----------------------------------------------------------


def check_conv2d(x, weight, bias=None, **options):
    inputs = [x, weight] if bias is None else [x, weight, bias]

    def backward(grad_out, x, weight, bias=None):
        grads = ops.conv2d_backward(grad_out, x, weight, **options)
        return grads if len(inputs) == 3 else grads[:2]

    check(partial(ops.conv2d, **options), backward, partial(F.conv2d, **options), inputs)


def check_im2col(x, kernel_size, **options):
    KH, KW = kernel_size

    def torch_im2col(x):
        N, C, H, W = x.shape
        size = ops.im2col(np.empty((N, C, H, W)), kernel_size, **options).shape[4:]
        return F.unfold(x, kernel_size, **options).reshape(N, C, KH, KW, *size)

    def back(grad_out, x):
        return ops.col2im(grad_out, tuple(x.shape[2:]), **options)

    check(lambda x: ops.im2col(x, kernel_size, **options), back, torch_im2col, [x])


def check_pool(kind, x, kernel_size, **options):
    check(
        lambda x: getattr(ops, kind)(x, kernel_size, **options),
        lambda grad_out, x: getattr(ops, f"{kind}_backward")(grad_out, x, kernel_size, **options),
        lambda x: getattr(F, kind)(x, kernel_size, **options),
        [x],
    )


# --- windows -------------------------------------------------------------------------------------------

# x, kernel_size, options
WINDOWS = {
    "plain": ((2, 3, 5, 7), (3, 2), {}),
    "stride": ((2, 3, 8, 11), (3, 2), {"stride": (2, 3)}),  # both with a remainder
    "padding": ((2, 3, 5, 4), (3, 2), {"padding": (2, 1)}),
    "dilation": ((2, 3, 8, 9), (3, 2), {"dilation": (2, 5)}),
    "all": ((3, 2, 9, 12), (2, 4), {"stride": (3, 2), "padding": (1, 2), "dilation": (3, 2)}),
    "ints": ((1, 2, 6, 9), (3, 2), {"stride": 2, "padding": 1, "dilation": 2}),
    "one window": ((2, 3, 4, 5), (4, 5), {}),
    "one pixel": ((2, 3, 4, 5), (1, 1), {}),
    "steps wider than windows": ((1, 2, 7, 9), (2, 1), {"stride": (3, 4)}),
    "padding wider than the image": ((1, 2, 2, 1), (2, 3), {"padding": (5, 4)}),
}
each_window = pytest.mark.parametrize(("shape", "kernel_size", "options"), WINDOWS.values(), ids=WINDOWS)


@each_dtype
@each_window
def test_im2col_and_col2im_are_unfold_and_fold(shape, kernel_size, options, dtype):
    x = normal(*shape, dtype=dtype)
    check_im2col(x, kernel_size, **options)
    cols = ops.im2col(x, kernel_size, **options)
    flat = torch.from_numpy(cols.reshape(shape[0], shape[1] * kernel_size[0] * kernel_size[1], -1))
    assert_close(
        ops.col2im(cols, shape[2:], **options), F.fold(flat, shape[2:], kernel_size, **options), "fold"
    )


@each_window
def test_the_matrix_forms_hold_the_same_numbers(shape, kernel_size, options):
    x = normal(*shape)
    cols = ops.im2col(x, kernel_size, **options)
    matrix = ops.im2col_matrix(x, kernel_size, **options)
    N, C, KH, KW, OH, OW = cols.shape
    assert matrix.shape == (N * OH * OW, C * KH * KW)
    n, c, i, j, p, q = N - 1, C - 1, KH - 1, 0, 0, OW - 1
    assert matrix[(n * OH + p) * OW + q, (c * KH + i) * KW + j] == cols[n, c, i, j, p, q]
    assert_array_equal(np.sort(matrix, axis=None), np.sort(cols, axis=None))
    back = ops.col2im_matrix(matrix, shape, kernel_size, **options)
    assert_array_equal(back, ops.col2im(cols, shape[2:], **options))
    # The sentence of chapter 06: one row per window, one product, and the rows are the output's pixels.
    weight = normal(4, C, KH, KW)
    out = (matrix @ weight.reshape(4, -1).T).reshape(N, OH, OW, 4).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(out, ops.conv2d(x, weight, **options), atol=1e-12)


@each_window
def test_the_matrix_forms_on_tensors(shape, kernel_size, options):
    x = normal(*shape)
    matrix = ops.im2col_matrix(x, kernel_size, **options)

    def back(grad_out, x):
        return ops.col2im_matrix(grad_out, tuple(x.shape), kernel_size, **options)

    def reference(x):
        return F.unfold(x, kernel_size, **options).transpose(1, 2).reshape(matrix.shape)

    check(lambda x: ops.im2col_matrix(x, kernel_size, **options), back, reference, [x])


def test_im2col_by_hand():
    #  0 1 2      windows of 2 x 2: [[0,1],[3,4]] and [[1,2],[4,5]]
    #  3 4 5
    x = np.arange(6).reshape(1, 1, 2, 3)
    cols = ops.im2col(x, 2)
    assert_array_equal(cols[0, 0, :, :, 0, 0], [[0, 1], [3, 4]])
    assert_array_equal(cols[0, 0, :, :, 0, 1], [[1, 2], [4, 5]])
    assert_array_equal(ops.im2col_matrix(x, 2), [[0, 1, 3, 4], [1, 2, 4, 5]])


def test_im2col_with_padding_by_hand():
    #  0 0 0 0      a 2 x 3 window with stride 2 down finds rows 0-1 and 2-3
    #  0 1 2 0
    #  0 3 4 0
    #  0 0 0 0
    x = np.array([[[[1, 2], [3, 4]]]])
    cols = ops.im2col(x, (2, 3), stride=(2, 1), padding=1)
    assert cols.shape == (1, 1, 2, 3, 2, 2)
    assert_array_equal(cols[0, 0, :, :, 0, 0], [[0, 0, 0], [0, 1, 2]])
    assert_array_equal(cols[0, 0, :, :, 1, 1], [[3, 4, 0], [0, 0, 0]])


def test_col2im_by_hand():
    # The middle column of pixels lies in both windows and is added twice: the transpose, not the inverse.
    x = np.arange(6).reshape(1, 1, 2, 3)
    assert_array_equal(ops.col2im(ops.im2col(x, 2), (2, 3))[0, 0], [[0, 2, 2], [3, 8, 5]])
    assert_array_equal(
        ops.col2im_matrix(ops.im2col_matrix(x, 2), (1, 1, 2, 3), 2)[0, 0], [[0, 2, 2], [3, 8, 5]]
    )


# --- convolution ---------------------------------------------------------------------------------------

# x, weight, options
CONVOLUTIONS = {
    "plain": ((2, 3, 5, 7), (4, 3, 3, 2), {}),
    "stride": ((2, 3, 8, 11), (5, 3, 3, 2), {"stride": (2, 3)}),
    "padding": ((2, 3, 5, 4), (1, 3, 3, 2), {"padding": (2, 1)}),
    "padding wider than the filter": ((2, 3, 3, 2), (4, 3, 2, 1), {"padding": (3, 4)}),
    "dilation": ((2, 3, 8, 9), (4, 3, 3, 2), {"dilation": (2, 5)}),
    "all": ((3, 2, 9, 12), (5, 2, 2, 4), {"stride": (3, 2), "padding": (1, 2), "dilation": (3, 2)}),
    "ints": ((1, 2, 6, 9), (7, 2, 3, 2), {"stride": 2, "padding": 1, "dilation": 2}),
    "more channels than filters": ((2, 7, 5, 6), (2, 7, 3, 2), {"padding": (0, 1)}),
    "many filters": ((2, 2, 5, 6), (9, 2, 3, 2), {"padding": 1}),
    "1 x 1 output": ((2, 3, 4, 5), (6, 3, 4, 5), {}),
    "1 x 1 filter": ((2, 3, 4, 5), (6, 3, 1, 1), {}),
    "1 x 1 image": ((3, 2, 1, 1), (4, 2, 3, 5), {"padding": (1, 2)}),
    "groups": ((2, 6, 5, 7), (4, 3, 3, 2), {"groups": 2, "stride": (2, 1)}),
    "depthwise": ((2, 5, 6, 7), (5, 1, 3, 2), {"groups": 5, "padding": (1, 0)}),
    "depthwise with two filters each": ((2, 3, 6, 7), (6, 1, 2, 3), {"groups": 3, "dilation": (2, 1)}),
    "empty batch": ((0, 3, 5, 7), (4, 3, 3, 2), {"stride": 2}),
    "empty batch with groups": ((0, 4, 5, 7), (2, 2, 3, 2), {"groups": 2}),
}
each_convolution = pytest.mark.parametrize(
    ("shape", "weight", "options"), CONVOLUTIONS.values(), ids=CONVOLUTIONS
)


@each_dtype
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@each_convolution
def test_conv2d_and_its_gradients(shape, weight, options, with_bias, dtype):
    bias = normal(weight[0], dtype=dtype) if with_bias else None
    check_conv2d(normal(*shape, dtype=dtype), normal(*weight, dtype=dtype), bias, **options)


def test_conv2d_by_hand():
    # Top left:     1*2 + 2*0 + 3*1 + 0*0 + 1*1 + 2*2 + 3*1 + 0*0 + 1*2 = 2 + 3 + 1 + 4 + 3 + 2 = 15
    # Top right:    2*2 + 3*0 + 0*1 + 1*0 + 2*1 + 3*2 + 0*1 + 1*0 + 2*2 = 4 + 2 + 6 + 4         = 16
    # Bottom left:  0*2 + 1*0 + 2*1 + 3*0 + 0*1 + 1*2 + 2*1 + 3*0 + 0*2 = 2 + 2 + 2             = 6
    # Bottom right: 1*2 + 2*0 + 3*1 + 0*0 + 1*1 + 2*2 + 3*1 + 0*0 + 1*2 = 2 + 3 + 1 + 4 + 3 + 2 = 15
    image = np.array([[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]])
    weight = np.array([[2, 0, 1], [0, 1, 2], [1, 0, 2]])
    wanted = [[15, 16], [6, 15]]
    out = ops.conv2d(image[None, None], weight[None, None])
    assert out.dtype == image.dtype  # whole numbers stay whole
    assert_array_equal(out[0, 0], wanted)
    assert_array_equal(
        ops.conv2d(image[None, None].astype(float), weight[None, None].astype(float))[0, 0], wanted
    )
    tensors = torch.from_numpy(image[None, None]), torch.from_numpy(weight[None, None])
    assert ops.conv2d(*tensors)[0, 0].tolist() == wanted
    with_bias = ops.conv2d(image[None, None], weight[None, None], np.array([3]))
    assert_array_equal(with_bias[0, 0], [[18, 19], [9, 18]])


@pytest.mark.parametrize("dtype", [int, float])
def test_conv2d_backward_by_hand(dtype):
    # x = 1 2 3, weight = 10 20: out = 1*10+2*20, 2*10+3*20. With grad_out = 1 5 flowing back:
    # grad_x      = 10*1, 20*1 + 10*5, 20*5 = 10, 70, 100   (the middle pixel lies in both windows)
    # grad_weight = 1*1 + 2*5, 2*1 + 3*5    = 11, 17
    # grad_bias   = 1 + 5                   = 6
    x, weight, grad_out = (np.array([[[v]]], dtype) for v in ([1, 2, 3], [10, 20], [1, 5]))
    assert_array_equal(ops.conv2d(x, weight), [[[[50, 80]]]])
    grad_x, grad_weight, grad_bias = ops.conv2d_backward(grad_out, x, weight)
    assert_array_equal(grad_x, [[[[10, 70, 100]]]])
    assert_array_equal(grad_weight, [[[[11, 17]]]])
    assert_array_equal(grad_bias, [6])
    assert grad_x.dtype == grad_weight.dtype == grad_bias.dtype == dtype


def test_groups_do_not_see_each_other():
    x = np.ones((1, 2, 3, 3))
    x[:, 1] = 100
    out = ops.conv2d(x, np.ones((2, 1, 3, 3)), groups=2)
    assert_array_equal(out[0, :, 0, 0], [9, 900])  # 9 pixels of the own channel, none of the other


@st.composite
def convolutions(draw):
    """A convolution that fits: shapes and options."""
    sides = []
    for _ in range(2):
        k, s = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        p, d = draw(st.integers(0, 4)), draw(st.integers(1, 3))
        smallest = max(1, d * (k - 1) + 1 - 2 * p)
        sides.append((smallest + draw(st.integers(0, 5)), k, s, p, d))
    (H, KH, SH, PH, DH), (W, KW, SW, PW, DW) = sides
    groups, per_group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    filters = groups * draw(st.integers(1, 3))
    options = {"stride": (SH, SW), "padding": (PH, PW), "dilation": (DH, DW), "groups": groups}
    return (draw(st.integers(0, 3)), groups * per_group, H, W), (filters, per_group, KH, KW), options


@given(convolutions(), st.booleans(), st.sampled_from(DTYPES), st.integers(0, 99))
def test_any_convolution(convolution, with_bias, dtype, seed):
    shape, weight, options = convolution
    bias = normal(weight[0], dtype=dtype, seed=seed) if with_bias else None
    x, weight = normal(*shape, dtype=dtype, seed=seed), normal(*weight, dtype=dtype, seed=seed)
    check_conv2d(x, weight, bias, **options)


@given(convolutions(), st.integers(0, 99))
def test_col2im_is_the_transpose_of_im2col(convolution, seed):
    shape, weight, options = convolution
    del options["groups"]
    x = normal(*shape, seed=seed)
    cols = ops.im2col(x, weight[2:], **options)
    y = normal(*cols.shape, seed=seed + 1)
    np.testing.assert_allclose(
        np.vdot(cols, y), np.vdot(x, ops.col2im(y, shape[2:], **options)), rtol=1e-10, atol=1e-10
    )


@given(convolutions(), st.integers(0, 99))
def test_im2col_of_any_shape(convolution, seed):
    shape, weight, options = convolution
    del options["groups"]
    x = whole(*shape, seed=seed)
    cols = ops.im2col(x, weight[2:], **options)
    (PH, PW), (SH, SW), (DH, DW) = options["padding"], options["stride"], options["dilation"]
    padded = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))
    for i, j, p, q in np.ndindex(cols.shape[2:]):
        assert_array_equal(cols[:, :, i, j, p, q], padded[:, :, p * SH + i * DH, q * SW + j * DW])


# --- pooling -------------------------------------------------------------------------------------------

# x, kernel_size, options
POOLINGS = {
    "default stride": ((2, 3, 7, 8), (2, 3), {}),
    "overlapping": ((2, 3, 8, 9), (3, 4), {"stride": (2, 3)}),
    "overlapping by all but one": ((2, 3, 6, 5), (3, 2), {"stride": 1}),
    "gaps": ((2, 3, 9, 11), (2, 1), {"stride": (3, 4)}),
    "padding": ((2, 3, 5, 8), (2, 5), {"padding": (1, 2)}),
    "padding and overlap": ((3, 2, 8, 10), (3, 4), {"stride": (2, 3), "padding": (1, 2)}),
    "ints": ((2, 3, 9, 7), 3, {"stride": 2, "padding": 1}),
    "1 x 1 output": ((2, 3, 4, 5), (4, 5), {}),
    "1 x 1 window": ((2, 3, 4, 5), 1, {}),
    "empty batch": ((0, 3, 5, 7), (2, 3), {}),
}
each_kind = pytest.mark.parametrize("kind", ["max_pool2d", "avg_pool2d"])
each_pooling = pytest.mark.parametrize(("shape", "kernel_size", "options"), POOLINGS.values(), ids=POOLINGS)


@each_dtype
@each_kind
@each_pooling
def test_pooling_and_its_gradients(kind, shape, kernel_size, options, dtype):
    check_pool(kind, normal(*shape, dtype=dtype), kernel_size, **options)


@each_pooling
def test_of_equal_pixels_the_first_wins(shape, kernel_size, options):
    check_pool("max_pool2d", whole(*shape), kernel_size, **options)
    check_pool("max_pool2d", np.zeros(shape), kernel_size, **options)
    check_pool("max_pool2d", np.maximum(normal(*shape), 0), kernel_size, **options)  # as behind a ReLU


@st.composite
def poolings(draw):
    """A pooling that fits: shape, window and options."""
    sides = []
    for _ in range(2):
        k = draw(st.integers(1, 4))
        s, p = draw(st.integers(1, 5)), draw(st.integers(0, k // 2))
        sides.append((max(1, k - 2 * p) + draw(st.integers(0, 6)), k, s, p))
    (H, KH, SH, PH), (W, KW, SW, PW) = sides
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 3)), H, W
    return shape, (KH, KW), {"stride": (SH, SW), "padding": (PH, PW)}


@given(poolings(), st.sampled_from(["max_pool2d", "avg_pool2d"]), st.sampled_from(DTYPES), st.integers(0, 99))
def test_any_pooling(pooling, kind, dtype, seed):
    shape, kernel_size, options = pooling
    check_pool(kind, whole(*shape, dtype=dtype, seed=seed), kernel_size, **options)


def test_max_pool2d_by_hand():
    #  1 3 | 2 0      largest: 3, 2 / 8, 7
    #  2 0 | 1 2
    #  ----+----
    #  5 8 | 7 7      of the equal sevens the first, top left, gets the gradient
    #  0 1 | 6 7
    x = np.array([[[[1, 3, 2, 0], [2, 0, 1, 2], [5, 8, 7, 7], [0, 1, 6, 7]]]])
    grad_out = np.array([[[[10, 20], [30, 40]]]])
    wanted = [[0, 10, 20, 0], [0, 0, 0, 0], [0, 30, 40, 0], [0, 0, 0, 0]]
    for kind in (int, float):
        assert_array_equal(ops.max_pool2d(x.astype(kind), 2), [[[[3, 2], [8, 7]]]])
        assert_array_equal(ops.max_pool2d_backward(grad_out.astype(kind), x.astype(kind), 2)[0, 0], wanted)
    assert ops.max_pool2d(x, 2).dtype == x.dtype


def test_overlapping_windows_add_up_by_hand():
    # Windows 1 5 and 5 2: the five wins both and gets 10 + 20.
    x, grad_out = np.array([[[[1.0, 5.0, 2.0]]]]), np.array([[[[10.0, 20.0]]]])
    assert_array_equal(ops.max_pool2d(x, (1, 2), stride=1), [[[[5, 5]]]])
    assert_array_equal(ops.max_pool2d_backward(grad_out, x, (1, 2), stride=1), [[[[0, 30, 0]]]])


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int8])
def test_padding_never_wins(dtype):
    x = np.full((1, 1, 2, 2), -7, dtype)
    for array in (x, torch.from_numpy(x)):
        out = ops.max_pool2d(array, 2, padding=1)
        assert out.dtype == array.dtype
        assert_array_equal(out, np.full((1, 1, 2, 2), -7))


def test_avg_pool2d_by_hand():
    #  1 3 | 2 0      means: 6 / 4, 5 / 4; the gradients 4 and 8 are spread as 1 and 2
    #  2 0 | 1 2
    x = np.array([[[[1, 3, 2, 0], [2, 0, 1, 2]]]])
    grad_out = np.array([[[[4, 8]]]])
    for kind in (int, float):
        assert_array_equal(ops.avg_pool2d(x.astype(kind), 2), [[[[1.5, 1.25]]]])
        grad_x = ops.avg_pool2d_backward(grad_out.astype(kind), x.astype(kind), 2)
        assert_array_equal(grad_x[0, 0], [[1, 1, 2, 2], [1, 1, 2, 2]])
    # Padded zeros count: the corner window sees 0 0 0 1.
    assert ops.avg_pool2d(x, 2, padding=1)[0, 0, 0, 0] == 0.25


# --- the other layers ----------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 7), (3,), (), (0, 5)], ids=str)
def test_relu(shape, dtype):
    for x in (normal(*shape, dtype=dtype), whole(*shape, dtype=dtype)):  # whole: with exact zeros
        check(ops.relu, ops.relu_backward, F.relu, [np.asarray(x, dtype)])


def test_relu_by_hand():
    x, grad_out = np.array([-2, 0, 3]), np.array([5, 6, 7])
    assert_array_equal(ops.relu(x), [0, 0, 3])
    assert_array_equal(ops.relu_backward(grad_out, x), [0, 0, 7])
    assert ops.relu(x).dtype == x.dtype


def test_relu_does_not_hide_nan():
    assert_array_equal(ops.relu(np.array([np.nan, -np.inf, np.inf])), [np.nan, 0, np.inf])


@each_dtype
@pytest.mark.parametrize(("N", "D", "K"), [(4, 3, 5), (1, 7, 2), (5, 1, 1), (0, 3, 2)])
def test_linear(N, D, K, dtype):
    x, weight, bias = normal(N, D, dtype=dtype), normal(K, D, dtype=dtype), normal(K, dtype=dtype)

    def backward(grad_out, x, weight, bias=None):
        return ops.linear_backward(grad_out, x, weight)

    check(ops.linear, backward, F.linear, [x, weight, bias])
    check(ops.linear, lambda *args: backward(*args)[:2], F.linear, [x, weight])


def test_linear_by_hand():
    # One row (1, 2); weights (3, 4) and (5, 6): 1*3 + 2*4 + 10 = 21 and 1*5 + 2*6 + 20 = 37.
    x, weight, bias = np.array([[1, 2]]), np.array([[3, 4], [5, 6]]), np.array([10, 20])
    assert_array_equal(ops.linear(x, weight, bias), [[21, 37]])
    # Back with (1, 10): grad_x = 1*(3, 4) + 10*(5, 6), grad_weight = rows x and 10 x, grad_bias = (1, 10).
    grad_x, grad_weight, grad_bias = ops.linear_backward(np.array([[1, 10]]), x, weight)
    assert_array_equal(grad_x, [[53, 64]])
    assert_array_equal(grad_weight, [[1, 2], [10, 20]])
    assert_array_equal(grad_bias, [1, 10])


@each_dtype
@pytest.mark.parametrize(("N", "K"), [(4, 7), (1, 3), (5, 1), (0, 3)])
@pytest.mark.parametrize("scale", [1, 1000])
def test_softmax(N, K, scale, dtype):
    check(ops.softmax, None, partial(torch.softmax, dim=1), [scale * normal(N, K, dtype=dtype)])


def test_softmax_by_hand():
    # exp(0) : exp(log 3) = 1 : 3; adding 1000 to every score changes nothing.
    logits = np.array([[0, np.log(3)], [1000, 1000 + np.log(3)]])
    np.testing.assert_allclose(ops.softmax(logits), [[0.25, 0.75], [0.25, 0.75]], atol=1e-12)


@each_dtype
@pytest.mark.parametrize(("N", "K"), [(4, 7), (1, 3), (5, 1)])
@pytest.mark.parametrize("scale", [1, 1000])
def test_cross_entropy(N, K, scale, dtype):
    logits, target = scale * normal(N, K, dtype=dtype), np.random.default_rng(0).integers(0, K, N)

    def backward(grad_out, logits, target):
        return grad_out * ops.cross_entropy_backward(logits, target)

    check(ops.cross_entropy, backward, F.cross_entropy, [logits, target])


def test_cross_entropy_by_hand():
    # Probabilities (1/4, 3/4) and (1/2, 1/2), right classes 1 and 0: mean of -log(3/4) and -log(1/2).
    logits, target = np.array([[0, np.log(3)], [2, 2]]), np.array([1, 0])
    np.testing.assert_allclose(ops.cross_entropy(logits, target), (np.log(4 / 3) + np.log(2)) / 2, atol=1e-12)
    # (probability - one-hot) / 2: (1/4, 3/4 - 1) / 2 and (1/2 - 1, 1/2) / 2.
    wanted = [[0.125, -0.125], [-0.25, 0.25]]
    np.testing.assert_allclose(ops.cross_entropy_backward(logits, target), wanted, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_classes_of_any_integer_kind(dtype):
    logits, target = normal(3, 4), np.array([3, 0, 2])
    assert ops.cross_entropy(logits, target.astype(dtype)) == ops.cross_entropy(logits, target)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from(DTYPES), st.integers(0, 99))
def test_any_cross_entropy(N, K, dtype, seed):
    logits = 5 * normal(N, K, dtype=dtype, seed=seed)
    target = np.random.default_rng(seed).integers(0, K, N)

    def backward(grad_out, logits, target):
        return grad_out * ops.cross_entropy_backward(logits, target)

    check(ops.cross_entropy, backward, F.cross_entropy, [logits, target])
    np.testing.assert_allclose(ops.softmax(logits).sum(axis=1), 1, atol=1e-5)


# --- how the numbers lie in memory ---------------------------------------------------------------------

# Each gives an array of shape (2, 3, 7, 8) that is not one contiguous piece.
LAYOUTS = {
    "transposed": lambda: normal(8, 7, 3, 2).transpose(3, 2, 1, 0),
    "channels last": lambda: normal(2, 7, 8, 3).transpose(0, 3, 1, 2),
    "every second": lambda: normal(2, 6, 14, 24)[:, ::2, ::2, ::3],
    "backwards": lambda: normal(2, 3, 7, 8)[::-1, ::-1, ::-1, ::-1],
    "Fortran order": lambda: np.asfortranarray(normal(2, 3, 7, 8)),
    "broadcast": lambda: np.broadcast_to(normal(1, 3, 1, 8), (2, 3, 7, 8)),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@each_layout
def test_images_that_are_not_contiguous(layout):
    x = layout()
    weight = normal(3, 2, 4, 5).transpose(1, 0, 3, 2)[..., ::-1]  # (2, 3, 5, 4)
    check_conv2d(x, weight, normal(4)[::2], stride=(2, 1), padding=(1, 2))
    check_conv2d(x, normal(6, 1, 2, 3)[::2], groups=3)
    check_im2col(x, (3, 2), stride=(2, 3))
    check_pool("max_pool2d", x, (3, 2), stride=2, padding=1)
    check_pool("avg_pool2d", x, (3, 2), stride=2, padding=1)
    check(ops.relu, ops.relu_backward, F.relu, [x])
    matrix, rows = x.reshape(6, 56)[:, ::7], normal(8, 5).T
    check(ops.linear, lambda *grads: ops.linear_backward(*grads)[:2], F.linear, [matrix, rows])


@each_layout
def test_gradients_that_are_not_contiguous(layout):
    grad_out, x = layout(), normal(2, 2, 8, 10)
    weight = normal(3, 2, 2, 3)
    plain = np.ascontiguousarray(grad_out)
    for got, wanted in zip(
        ops.conv2d_backward(grad_out, x, weight), ops.conv2d_backward(plain, x, weight), strict=True
    ):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    x = normal(2, 3, 14, 16)
    for backward in (ops.max_pool2d_backward, ops.avg_pool2d_backward):
        assert_array_equal(backward(grad_out, x, 2), backward(plain, x, 2))


@each_device
def test_tensors_that_are_not_contiguous(device):
    x = torch.from_numpy(normal(8, 7, 3, 2)).to(device).permute(3, 2, 1, 0)
    x = x.expand(2, 3, 7, 8)[:, :, ::2]
    weight = torch.from_numpy(normal(3, 4, 3, 5)).to(device).permute(3, 0, 2, 1)  # (5, 3, 3, 4)
    out = ops.conv2d(x, weight, stride=(1, 2))
    wanted = F.conv2d(x.cpu(), weight.cpu(), stride=(1, 2))
    assert_close(out, wanted, "conv2d")
    grad_out = torch.from_numpy(normal(*wanted.shape[::-1])).to(device).permute(3, 2, 1, 0)
    grad_x, grad_weight, grad_bias = ops.conv2d_backward(grad_out, x, weight, stride=(1, 2))
    assert_close(grad_x, torch.nn.grad.conv2d_input(x.shape, weight, grad_out, stride=(1, 2)), "grad_x")
    wanted = torch.nn.grad.conv2d_weight(x, weight.shape, grad_out, stride=(1, 2))
    assert_close(grad_weight, wanted, "grad_weight")
    assert_close(grad_bias, grad_out.sum((0, 2, 3)), "grad_bias")
    assert_close(ops.max_pool2d(x, (2, 3)), F.max_pool2d(x.cpu(), (2, 3)), "max_pool2d")
    assert_close(ops.avg_pool2d(x, (2, 3)), F.avg_pool2d(x.cpu(), (2, 3)), "avg_pool2d")


def test_float16_is_computed_too():
    x, weight, bias = (normal(*s, dtype=np.float16) for s in ((2, 3, 7, 8), (4, 3, 3, 2), (4,)))
    half = [torch.from_numpy(a) for a in (x, weight, bias)]
    wanted = F.conv2d(*(t.float() for t in half), stride=2, padding=1).half()
    assert_close(ops.conv2d(x, weight, bias, stride=2, padding=1), wanted, "NumPy")
    assert_close(ops.conv2d(*half, stride=2, padding=1), wanted, "torch")
    for grad in ops.conv2d_backward(ops.conv2d(x, weight), x, weight):
        assert grad.dtype == np.float16
    assert_close(ops.max_pool2d(x, 2), F.max_pool2d(half[0].float(), 2).half(), "max_pool2d")


# --- on torch ------------------------------------------------------------------------------------------


@each_device
def test_results_stay_on_the_device(device):
    x, weight, bias = (torch.from_numpy(normal(*s)).to(device) for s in ((2, 3, 5, 6), (4, 3, 3, 2), (4,)))
    out = ops.conv2d(x, weight, bias, padding=1)
    pooled = ops.max_pool2d(out, 2)
    logits = ops.linear(pooled.reshape(2, -1), pooled.reshape(2, -1))
    loss = ops.cross_entropy(logits, torch.tensor([1, 0], device=device))
    results = [out, pooled, logits, loss, *ops.conv2d_backward(out, x, weight, padding=1)]
    results += [ops.max_pool2d_backward(pooled, out, 2), ops.avg_pool2d_backward(pooled, out, 2)]
    results += [ops.im2col_matrix(x, 2), ops.relu_backward(out, out), ops.softmax(logits)]
    assert {r.device.type for r in results} == {device}


@each_device
def test_torch_gradcheck(device):
    x, weight, bias = (torch.from_numpy(normal(*s)).to(device) for s in ((2, 4, 5, 6), (6, 2, 3, 2), (6,)))
    forward = partial(ops.conv2d, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
    assert torch.autograd.gradcheck(forward, [t.requires_grad_() for t in (x, weight, bias)])


@each_device
def test_the_backward_can_be_differentiated_again(device):
    x, weight = (torch.from_numpy(normal(*s)).to(device) for s in ((1, 2, 4, 5), (3, 2, 2, 3)))
    forward = partial(ops.conv2d, stride=(1, 2), padding=1)
    assert torch.autograd.gradgradcheck(forward, [t.requires_grad_() for t in (x, weight)])


# --- mistakes ------------------------------------------------------------------------------------------

X, WEIGHT, BIAS = normal(2, 3, 5, 7), normal(4, 3, 3, 2), normal(4)
GRAD = normal(2, 4, 3, 6)
LOGITS, TARGET = normal(3, 4), np.array([0, 3, 1])

# call, error, the message (literally)
MISTAKES = {
    # what is no array
    "x a list": (
        lambda: ops.conv2d([[1.0]], WEIGHT),
        TypeError,
        "x must be a NumPy array or a torch tensor, got list",
    ),
    "weight a list": (
        lambda: ops.conv2d(X, [[1.0]]),
        TypeError,
        "weight must be a NumPy array or a torch tensor, got list",
    ),
    "bias a number": (
        lambda: ops.conv2d(X, WEIGHT, 0.5),
        TypeError,
        "bias must be a NumPy array or a torch tensor, got float",
    ),
    "pooling a list": (
        lambda: ops.max_pool2d([[1.0]], 2),
        TypeError,
        "x must be a NumPy array or a torch tensor, got list",
    ),
    "average of a list": (
        lambda: ops.avg_pool2d([[1.0]], 2),
        TypeError,
        "x must be a NumPy array or a torch",
    ),
    "relu of a list": (
        lambda: ops.relu([1.0]),
        TypeError,
        "x must be a NumPy array or a torch tensor, got list",
    ),
    "im2col of None": (
        lambda: ops.im2col(None, 2),
        TypeError,
        "x must be a NumPy array or a torch tensor, got None",
    ),
    "col2im of a list": (
        lambda: ops.col2im([1.0], (2, 2)),
        TypeError,
        "cols must be a NumPy array or a torch tensor",
    ),
    "softmax of a list": (
        lambda: ops.softmax([[1.0]]),
        TypeError,
        "logits must be a NumPy array or a torch tensor",
    ),
    "target a list": (
        lambda: ops.cross_entropy(LOGITS, [0, 3, 1]),
        TypeError,
        "target must be a NumPy array or a torch tensor, got list",
    ),
    # two libraries, two dtypes
    "mixed libraries": (
        lambda: ops.conv2d(X, torch.from_numpy(WEIGHT)),
        TypeError,
        "weight is a Tensor, x a ndarray; both must be of one kind",
    ),
    "bias of another library": (
        lambda: ops.conv2d(torch.from_numpy(X), torch.from_numpy(WEIGHT), BIAS),
        TypeError,
        "bias is a ndarray, x a Tensor; both must be of one kind",
    ),
    "grad_out of another library": (
        lambda: ops.conv2d_backward(torch.from_numpy(GRAD), X, WEIGHT),
        TypeError,
        "grad_out is a Tensor, x a ndarray; both must be of one kind",
    ),
    "mixed dtypes": (
        lambda: ops.conv2d(X, WEIGHT.astype(np.float32)),
        TypeError,
        "weight has dtype float32, x has float64; they must be the same",
    ),
    "mixed dtypes of tensors": (
        lambda: ops.conv2d(torch.from_numpy(X), torch.from_numpy(WEIGHT).float()),
        TypeError,
        "weight has dtype torch.float32, x has torch.float64; they must be the same",
    ),
    "integer images, float filters": (
        lambda: ops.conv2d(X.astype(np.uint8), WEIGHT),
        TypeError,
        "weight has dtype float64, x has uint8; they must be the same",
    ),
    "bias of another dtype": (
        lambda: ops.conv2d(X, WEIGHT, BIAS.astype(np.float32)),
        TypeError,
        "bias has dtype float32, x has float64; they must be the same",
    ),
    "grad_out of another dtype": (
        lambda: ops.conv2d_backward(GRAD.astype(np.float32), X, WEIGHT),
        TypeError,
        "grad_out has dtype float32, x has float64; they must be the same",
    ),
    "linear of mixed dtypes": (
        lambda: ops.linear(LOGITS, normal(2, 4, dtype=np.float32)),
        TypeError,
        "weight has dtype float32, x has float64; they must be the same",
    ),
    "relu_backward of mixed dtypes": (
        lambda: ops.relu_backward(X.astype(np.float32), X),
        TypeError,
        "grad_out has dtype float32, x has float64; they must be the same",
    ),
    "max_pool2d_backward of mixed dtypes": (
        lambda: ops.max_pool2d_backward(normal(2, 3, 2, 3, dtype=np.float32), X, 2),
        TypeError,
        "grad_out has dtype float32, x has float64; they must be the same",
    ),
    # dimensions
    "one image without a batch": (
        lambda: ops.conv2d(X[0], WEIGHT),
        ValueError,
        "x must have 4 dimensions (N, C, H, W), got shape (3, 5, 7)",
    ),
    "one filter": (
        lambda: ops.conv2d(X, WEIGHT[0]),
        ValueError,
        "weight must have 4 dimensions (OC, C, KH, KW), got shape (3, 3, 2)",
    ),
    "pooling an image": (
        lambda: ops.max_pool2d(X[0, 0], 2),
        ValueError,
        "x must have 4 dimensions (N, C, H, W), got shape (5, 7)",
    ),
    "im2col of an image": (
        lambda: ops.im2col(X[0], 2),
        ValueError,
        "x must have 4 dimensions (N, C, H, W), got",
    ),
    "col2im of images": (lambda: ops.col2im(X, (5, 7)), ValueError, "cols must have 6 dimensions, got shape"),
    "linear of images": (
        lambda: ops.linear(X, LOGITS),
        ValueError,
        "x must have 2 dimensions, got shape (2, 3, 5, 7)",
    ),
    "softmax of a row": (
        lambda: ops.softmax(LOGITS[0]),
        ValueError,
        "logits must have 2 dimensions, got shape (4,)",
    ),
    "cross entropy of a row": (
        lambda: ops.cross_entropy(LOGITS[0], TARGET),
        ValueError,
        "logits must have 2 dimensions, got shape (4,)",
    ),
    # shapes that do not go together
    "wrong channels": (
        lambda: ops.conv2d(X, normal(4, 2, 3, 2)),
        ValueError,
        "weight must see 3 channels (x has 3, groups=1), got 2: x (2, 3, 5, 7), weight (4, 2, 3, 2)",
    ),
    "wrong channels per group": (
        lambda: ops.conv2d(normal(2, 4, 5, 7), normal(6, 4, 3, 2), groups=2),
        ValueError,
        "weight must see 2 channels (x has 4, groups=2), got 4: x (2, 4, 5, 7), weight (6, 4, 3, 2)",
    ),
    "wrong bias": (
        lambda: ops.conv2d(X, WEIGHT, BIAS[:3]),
        ValueError,
        "bias must have shape (4,), got (3,)",
    ),
    "bias as a column": (
        lambda: ops.conv2d(X, WEIGHT, BIAS.reshape(4, 1, 1)),
        ValueError,
        "bias must have shape (4,), got (4, 1, 1)",
    ),
    "no channels": (
        lambda: ops.conv2d(X[:, :0], WEIGHT[:, :0]),
        ValueError,
        "channels and filters must be at least 1, got C=0 and OC=4",
    ),
    "no filters": (lambda: ops.conv2d(X, WEIGHT[:0]), ValueError, "must be at least 1, got C=3 and OC=0"),
    "empty filters": (
        lambda: ops.conv2d(X, WEIGHT[:, :, :0]),
        ValueError,
        "kernel_size must be at least 1, got (0, 2)",
    ),
    "empty images": (lambda: ops.conv2d(X[:, :, :0], WEIGHT), ValueError, "size must be at least 1, got 0"),
    "wrong grad_out": (
        lambda: ops.conv2d_backward(GRAD[:, :, 1:], X, WEIGHT),
        ValueError,
        "grad_out must have shape (2, 4, 3, 6), got (2, 4, 2, 6)",
    ),
    "grad_out of another stride": (
        lambda: ops.conv2d_backward(GRAD, X, WEIGHT, stride=2),
        ValueError,
        "grad_out must have shape (2, 4, 2, 3), got (2, 4, 3, 6)",
    ),
    "wrong grad_out of max pooling": (
        lambda: ops.max_pool2d_backward(X, X, 2),
        ValueError,
        "grad_out must have shape (2, 3, 2, 3), got (2, 3, 5, 7)",
    ),
    "wrong grad_out of average pooling": (
        lambda: ops.avg_pool2d_backward(X, X, (2, 3), stride=1),
        ValueError,
        "grad_out must have shape (2, 3, 4, 5), got (2, 3, 5, 7)",
    ),
    "wrong grad_out of relu": (
        lambda: ops.relu_backward(X[:1], X),
        ValueError,
        "grad_out must have shape (2, 3, 5, 7), got (1, 3, 5, 7)",
    ),
    "wrong columns": (
        lambda: ops.col2im(normal(2, 3, 3, 2, 3, 5), (5, 7)),
        ValueError,
        "cols has 3 x 5 windows, images of 5 x 7 give 3 x 6",
    ),
    "wrong matrix": (
        lambda: ops.col2im_matrix(normal(35, 18), (2, 3, 5, 7), (3, 2)),
        ValueError,
        "matrix must have shape (36, 18), got (35, 18)",
    ),
    "wrong input shape": (
        lambda: ops.col2im_matrix(normal(36, 18), (5, 7), (3, 2)),
        ValueError,
        "input_shape must be (N, C, H, W), got (5, 7)",
    ),
    "linear shapes": (
        lambda: ops.linear(LOGITS, normal(2, 5)),
        ValueError,
        "weight must have shape (2, 4), got (2, 5)",
    ),
    "linear bias": (
        lambda: ops.linear(LOGITS, normal(2, 4), normal(3)),
        ValueError,
        "bias must have shape (2,), got (3,)",
    ),
    "wrong grad_out of linear": (
        lambda: ops.linear_backward(normal(3, 4), LOGITS, normal(2, 4)),
        ValueError,
        "grad_out must have shape (3, 2), got (3, 4)",
    ),
    # options
    "stride 0": (lambda: ops.conv2d(X, WEIGHT, stride=0), ValueError, "stride must be at least 1, got 0"),
    "stride of one axis 0": (
        lambda: ops.conv2d(X, WEIGHT, stride=(1, 0)),
        ValueError,
        "stride must be at least 1, got (1, 0)",
    ),
    "negative padding": (
        lambda: ops.conv2d(X, WEIGHT, padding=-1),
        ValueError,
        "padding must be at least 0, got -1",
    ),
    "padding same": (
        lambda: ops.conv2d(X, WEIGHT, padding="same"),
        TypeError,
        "padding must be an int or a pair of ints, got 'same'",
    ),
    "dilation 0": (
        lambda: ops.conv2d(X, WEIGHT, dilation=0),
        ValueError,
        "dilation must be at least 1, got 0",
    ),
    "stride of three axes": (
        lambda: ops.conv2d(X, WEIGHT, stride=(1, 1, 1)),
        TypeError,
        "stride must be an int or a pair (height, width), got (1, 1, 1)",
    ),
    "stride 1.0": (
        lambda: ops.conv2d(X, WEIGHT, stride=1.0),
        TypeError,
        "stride must be an int or a pair of ints, got 1.0",
    ),
    "window 0": (lambda: ops.max_pool2d(X, 0), ValueError, "kernel_size must be at least 1, got 0"),
    "pooling stride 0": (
        lambda: ops.avg_pool2d(X, 2, stride=0),
        ValueError,
        "stride must be at least 1, got 0",
    ),
    "im2col window 0": (
        lambda: ops.im2col(X, (2, 0)),
        ValueError,
        "kernel_size must be at least 1, got (2, 0)",
    ),
    "image of 0": (
        lambda: ops.col2im(normal(2, 3, 3, 2, 3, 5), 0),
        ValueError,
        "input_size must be at least 1, got 0",
    ),
    "groups 0": (lambda: ops.conv2d(X, WEIGHT, groups=0), ValueError, "groups must be at least 1, got 0"),
    "groups a pair": (
        lambda: ops.conv2d(X, WEIGHT, groups=(1, 2)),
        TypeError,
        "groups must be an int, got (1, 2)",
    ),
    "groups that do not divide": (
        lambda: ops.conv2d(X, WEIGHT, groups=2),
        ValueError,
        "groups=2 must divide both the 3 channels of x and the 4 filters",
    ),
    # what does not fit
    "filter too large": (
        lambda: ops.conv2d(X, normal(4, 3, 6, 2)),
        ValueError,
        "the filter does not fit: it covers 6 pixels (kernel_size=6, dilation=1), the padded image has 5 "
        "(size=5, padding=0)",
    ),
    "filter too large with padding": (
        lambda: ops.conv2d(X, normal(4, 3, 2, 6), padding=(0, 1), dilation=(1, 2)),
        ValueError,
        "it covers 11 pixels (kernel_size=6, dilation=2), the padded image has 9 (size=7, padding=1)",
    ),
    "filter too large, backward": (
        lambda: ops.conv2d_backward(GRAD, X, normal(4, 3, 6, 2)),
        ValueError,
        "the filter does not fit: it covers 6 pixels",
    ),
    "window too large": (lambda: ops.max_pool2d(X, (2, 8)), ValueError, "it covers 8 pixels (kernel_size=8"),
    "im2col window too large": (lambda: ops.im2col(X, 6), ValueError, "it covers 6 pixels (kernel_size=6"),
    "pooling padding too wide": (
        lambda: ops.max_pool2d(X, (2, 3), padding=(1, 2)),
        ValueError,
        "padding must be at most half the window (2, 3), got (1, 2)",
    ),
    "average padding too wide": (
        lambda: ops.avg_pool2d(X, 3, padding=2),
        ValueError,
        "padding must be at most half the window (3, 3), got (2, 2)",
    ),
    # classes
    "class too large": (
        lambda: ops.cross_entropy(LOGITS, np.array([0, 4, 1])),
        ValueError,
        "classes must be 0 to 3, got 0 to 4",
    ),
    "class negative": (
        lambda: ops.cross_entropy_backward(LOGITS, np.array([0, -1, 1])),
        ValueError,
        "classes must be 0 to 3, got -1 to 1",
    ),
    "class of a tensor too large": (
        lambda: ops.cross_entropy(torch.from_numpy(LOGITS), torch.tensor([0, 4, 1])),
        ValueError,
        "classes must be 0 to 3, got 0 to 4",
    ),
    "classes as floats": (
        lambda: ops.cross_entropy(LOGITS, TARGET.astype(float)),
        TypeError,
        "target must be an integer ndarray, got ndarray of float64",
    ),
    "classes of another library": (
        lambda: ops.cross_entropy(LOGITS, torch.from_numpy(TARGET)),
        TypeError,
        "target must be an integer ndarray, got Tensor of torch.int64",
    ),
    "one-hot classes": (
        lambda: ops.cross_entropy(LOGITS, np.eye(4, dtype=int)[TARGET]),
        ValueError,
        "target must have shape (3,), got (3, 4)",
    ),
    "too few classes": (
        lambda: ops.cross_entropy(LOGITS, TARGET[:2]),
        ValueError,
        "target must have shape (3,), got (2,)",
    ),
    "no rows": (
        lambda: ops.cross_entropy(LOGITS[:0], TARGET[:0]),
        ValueError,
        "logits must hold at least one row and one class, got shape (0, 4)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_explained(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
