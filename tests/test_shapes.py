"""Sizes by hand, against torch, and the messages for sizes that cannot be."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from cnnlab.shapes import conv_output_size, pair, receptive_field, single


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (3, (3, 3)),
        ((2, 5), (2, 5)),
        ([2, 5], (2, 5)),
        (np.int64(3), (3, 3)),
        ((np.int32(1), 2), (1, 2)),
        (torch.Size([4, 6]), (4, 6)),
    ],
)
def test_pair_reads_an_int_or_two(value, wanted):
    got = pair(value)
    assert got == wanted
    assert all(type(v) is int for v in got)


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), (), [4, 5, 6]])
def test_pair_refuses_other_lengths(value):
    with pytest.raises(TypeError, match=r"stride must be an int or a pair \(height, width\), got") as caught:
        pair(value, "stride")
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [1.0, "3", None, (1, 2.5), ("a", 1), np.array([1, 2])])
def test_pair_refuses_what_is_no_integer(value):
    with pytest.raises(TypeError, match="stride must be an int or a pair of ints, got") as caught:
        pair(value, "stride")
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("value", "minimum"), [(0, 1), (-1, 1), ((2, 0), 1), ((-1, 3), 0)])
def test_pair_refuses_what_is_too_small(value, minimum):
    with pytest.raises(ValueError, match=f"padding must be at least {minimum}, got") as caught:
        pair(value, "padding", minimum=minimum)
    assert repr(value) in str(caught.value)


def test_pair_allows_zero_where_told():
    assert pair(0, "padding", minimum=0) == (0, 0)


def test_single_reads_one_int():
    assert single(3) == 3
    assert single(np.int64(0), minimum=0) == 0


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ((2, 2), TypeError, r"groups must be an int, got \(2, 2\)"),
        (1.5, TypeError, "groups must be an int, got 1.5"),
        (0, ValueError, "groups must be at least 1, got 0"),
    ],
)
def test_single_says_what_is_wrong(value, error, message):
    with pytest.raises(error, match=message):
        single(value, "groups")


# conv_output_size: size, kernel_size, stride, padding, dilation -> by hand


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((4, 3), 2),  # 4 - 3 + 1
        ((28, 5), 24),  # 28 - 5 + 1
        ((28, 5, 1, 2), 28),  # "same": 28 + 4 - 5 + 1
        ((7, 3, 2), 3),  # (7 - 3) / 2 + 1
        ((8, 3, 2), 3),  # floor(5 / 2) + 1: the last column is not reached
        ((224, 11, 4, 2), 55),  # AlexNet's first layer: floor((224 + 4 - 11) / 4) + 1 = floor(54.25) + 1
        ((10, 3, 1, 0, 3), 4),  # the filter covers 3 * (3 - 1) + 1 = 7 pixels: 10 - 7 + 1
        ((3, 3), 1),
        ((1, 1), 1),
        ((2, 6, 1, 2), 1),  # the filter fits only thanks to the padding
    ],
)
def test_conv_output_size_by_hand(arguments, wanted):
    assert conv_output_size(*arguments) == wanted


@given(
    size=st.integers(1, 20),
    kernel_size=st.integers(1, 6),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 4),
)
def test_conv_output_size_as_torch(size, kernel_size, stride, padding, dilation):
    assume(dilation * (kernel_size - 1) + 1 <= size + 2 * padding)
    got = conv_output_size(size, kernel_size, stride, padding, dilation)
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel_size)
    assert got == F.conv1d(x, weight, stride=stride, padding=padding, dilation=dilation).shape[2]
    # The same by counting: the windows that start inside and end inside the padded image.
    last = size + 2 * padding - dilation * (kernel_size - 1) - 1
    assert got == len(range(0, last + 1, stride))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4), r"does not fit: it covers 4 pixels \(kernel_size=4, dilation=1\), the padded image has 3 "),
        ((4, 3, 1, 0, 2), "covers 5 pixels .*dilation=2.* the padded image has 4 "),
        ((1, 5, 1, 1), r"the padded image has 3 \(size=1, padding=1\)"),
        ((0, 3), "size must be at least 1, got 0"),
        ((5, 0), "kernel_size must be at least 1, got 0"),
        ((5, 3, 0), "stride must be at least 1, got 0"),
        ((5, 3, -2), "stride must be at least 1, got -2"),
        ((5, 3, 1, -1), "padding must be at least 0, got -1"),
        ((5, 3, 1, 0, 0), "dilation must be at least 1, got 0"),
    ],
)
def test_conv_output_size_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv_output_size(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((28, 30), 3), r"size must be an int, got \(28, 30\)"),
        ((28, (3, 3)), r"kernel_size must be an int, got \(3, 3\)"),
        ((28, 3, 1.0), "stride must be an int, got 1.0"),
        ((28, 3, 1, "same"), "padding must be an int, got 'same'"),
    ],
)
def test_conv_output_size_takes_integers_only(arguments, message):
    with pytest.raises(TypeError, match=message):
        conv_output_size(*arguments)


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([], 1),
        ([(3, 1)], 3),
        ([(3, 1), (3, 1)], 5),  # 3 + 2: as far as one 5 x 5 filter
        ([(3, 1)] * 3, 7),
        ([(2, 2), (3, 1)], 6),  # 2 + 2 * 2: after pooling each step is two pixels
        ([(3, 2), (3, 2), (3, 2)], 15),  # 3 + 2*2 + 2*4
        ([(3, 1, 2)], 5),  # dilation 2: 2 * (3 - 1) + 1
        ([(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1)], 163),  # AlexNet up to conv5
    ],
)
def test_receptive_field_by_hand(layers, wanted):
    assert receptive_field(layers) == wanted


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=3))
def test_receptive_field_is_where_gradients_reach(layers):
    field = receptive_field(layers)
    x = torch.zeros(1, 1, field, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel_size, stride, dilation in layers:
        weight = torch.ones(1, 1, kernel_size, dtype=torch.float64)
        y = F.conv1d(y, weight, stride=stride, dilation=dilation)
    assert y.shape[2] == 1  # one unit, and not one pixel to spare
    y.sum().backward()
    assert x.grad[0, 0, 0] > 0 and x.grad[0, 0, -1] > 0


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([(3,)], ValueError, r"a layer is \(kernel_size, stride\) or .* got \(3,\)"),
        ([(3, 1, 1, 1)], ValueError, "a layer is"),
        ([3], ValueError, "a layer is .* got 3"),
        ([(0, 1)], ValueError, "kernel_size must be at least 1, got 0"),
        ([(3, 0)], ValueError, "stride must be at least 1, got 0"),
        ([(3, 1, 0)], ValueError, "dilation must be at least 1, got 0"),
        ([(3.0, 1)], TypeError, "kernel_size must be an int, got 3.0"),
        ([((3, 5), 1)], TypeError, r"kernel_size must be an int, got \(3, 5\)"),
    ],
)
def test_receptive_field_says_what_is_wrong(layers, error, message):
    with pytest.raises(error, match=message):
        receptive_field(layers)
