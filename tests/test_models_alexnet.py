"""The small AlexNet that chapter `13_alexnet` trains: counts, shapes, gradients, and that it is AlexNet."""

from __future__ import annotations

import pytest
import torch
from test_models import count, documented_table, measured_table
from torch import nn
from torchsummary import summary

from cnnlab.models import AlexNet, SlimAlexNet


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_count() -> None:
    convolutions = (
        (8 * (1 * 5 * 5) + 8)
        + (24 * (8 * 5 * 5) + 24)
        + (48 * (24 * 3 * 3) + 48)
        + (32 * (48 * 3 * 3) + 32)
        + (32 * (32 * 3 * 3) + 32)
    )
    connected = (128 * (32 * 3 * 3) + 128) + (128 * 128 + 128) + (10 * 128 + 10)
    assert count(SlimAlexNet()) == convolutions + connected == 93_346


def test_docstring_table_is_true() -> None:
    assert documented_table(SlimAlexNet) == measured_table(SlimAlexNet(), torch.zeros(2, 1, 28, 28))


def test_it_is_alexnet_in_small() -> None:
    small = SlimAlexNet()
    with torch.device("meta"):
        large = AlexNet()
    assert [name for name, _ in small.named_children()] == [name for name, _ in large.named_children()]
    for (name, ours), theirs in zip(small.named_children(), large.children()):
        assert type(ours) is type(theirs)
        if isinstance(ours, nn.Conv2d):
            assert ours.out_channels * 8 == theirs.out_channels
            assert name == "conv1" or (ours.kernel_size, ours.padding) == (theirs.kernel_size, theirs.padding)


def test_any_batch_size_and_number_of_classes() -> None:
    for N in (1, 2, 7):
        assert SlimAlexNet(num_classes=3)(torch.randn(N, 1, 28, 28)).shape == (N, 3)


def test_images_of_a_batch_do_not_mix() -> None:
    model, x = SlimAlexNet().eval(), torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_gradient_reaches_every_parameter() -> None:
    model = SlimAlexNet(num_classes=3)
    nn.functional.cross_entropy(model(torch.randn(5, 1, 28, 28)), torch.tensor([0, 2, 1, 0, 2])).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_dropout_is_optional() -> None:
    assert [SlimAlexNet().drop1.p, SlimAlexNet(dropout=0.5).drop2.p] == [0.0, 0.5]


def test_torchsummary(capsys: pytest.CaptureFixture[str]) -> None:
    summary(SlimAlexNet(), (1, 28, 28), device="cpu")
    assert "Total params: 93,346" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 32, 32), (1, 28, 28)])
def test_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        SlimAlexNet()(torch.zeros(shape))
    assert "expected images of shape (N, 1, 28, 28)" in str(error.value)
    assert f"got {shape}" in str(error.value)
