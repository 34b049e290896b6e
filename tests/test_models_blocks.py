"""The blocks of modern networks: hand counts, docstring tables, what each idea promises, multiply-adds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from cnnlab.models import (
    AlexNet,
    BlockNet,
    ConvNeXtBlock,
    DepthwiseSeparable,
    InceptionBlock,
    LeNet,
    ResidualBlock,
    VGGBlock,
    multiply_adds,
)

BLOCKS = [VGGBlock, InceptionBlock, ResidualBlock, DepthwiseSeparable, ConvNeXtBlock]
each_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def documented_rows(cls: type) -> dict[str, tuple[str, str]]:
    """Output shape and parameters of each row of the table in the docstring of `cls`."""
    rules = re.split(r"^ *=+  =+  =+$\n?", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    rows = [re.match(r"(\S+) +(\(.*?\))? *([\d,]*)$", line) for line in rules[2].splitlines()]
    assert all(rows), rules[2]
    return {row[1]: (row[2] or "", row[3]) for row in rows if row}


def check_table(cls: type, model: nn.Module, x: torch.Tensor) -> None:
    """Compare each row that names a module with what the module gives, and the sum with the total."""
    rows = documented_rows(cls)
    modules = dict(model.named_modules())
    shapes: dict[str, torch.Size] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda m, _, y, name=name: shapes.__setitem__(name, y.shape))
    with torch.no_grad():
        y = model.eval()(x)
    total = 0
    for name, (shape, parameters) in rows.items():
        if name in modules:
            assert count(modules[name]) == int(parameters.replace(",", "")), name
            measured = shapes[name]
            total += count(modules[name])
        else:
            assert name in {"input", "concatenate", "total"}
            measured = x.shape if name == "input" else y.shape
        if name == "norm" and len(measured) == 4 and cls is ConvNeXtBlock:
            measured = torch.Size([measured[i] for i in (0, 3, 1, 2)])  # it runs on (N, H, W, C)
        if shape:
            assert shape == "(" + ", ".join(["N", *map(str, measured[1:])]) + ")", name
    assert total == count(model) == int(rows["total"][1].replace(",", ""))


@each_block
def test_docstring_table_is_true(block: Callable[[int, int], nn.Module]) -> None:
    check_table(block, block(16, 32), torch.zeros(2, 16, 14, 14))  # type: ignore[arg-type]


def test_docstring_table_of_the_net_is_true() -> None:
    check_table(BlockNet, BlockNet(VGGBlock, (16, 32)), torch.zeros(2, 1, 28, 28))


def test_docstring_table_test_can_fail() -> None:
    with pytest.raises(AssertionError):
        check_table(VGGBlock, VGGBlock(16, 31), torch.zeros(2, 16, 14, 14))


@each_block
@pytest.mark.parametrize("channels", [(8, 8), (8, 16), (16, 8)])
def test_block_keeps_the_image_size(
    block: Callable[[int, int], nn.Module], channels: tuple[int, int]
) -> None:
    model, x = block(*channels), torch.randn(3, channels[0], 9, 7)
    assert model(x).shape == (3, channels[1], 9, 7)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


@each_block
def test_gradient_reaches_every_parameter(block: Callable[[int, int], nn.Module]) -> None:
    model = BlockNet(block, (16, 32), depth=2).eval()
    F.cross_entropy(model(torch.randn(8, 1, 28, 28)), torch.arange(8)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_counts_by_hand() -> None:
    assert count(VGGBlock(6, 10)) == 9 * 6 * 10 + 9 * 10 * 10 + 2 * 2 * 10
    assert count(ResidualBlock(6, 6)) == 2 * 9 * 6 * 6 + 2 * 2 * 6
    assert count(ResidualBlock(6, 10)) == count(VGGBlock(6, 10)) + 6 * 10 + 2 * 10
    assert count(DepthwiseSeparable(6, 10)) == 9 * 6 + 6 * 10 + 2 * 6 + 2 * 10
    assert (
        count(ConvNeXtBlock(96, 96)) == 49 * 96 + 96 + 2 * 96 + (96 * 384 + 384) + (384 * 96 + 96) == 79_200
    )
    inception = 6 * 4 + (6 * 4 + 9 * 4 * 8) + (6 * 2 + 25 * 2 * 2) + 6 * 2 + 2 * (4 + 4 + 8 + 2 + 2 + 2)
    assert count(InceptionBlock(6, 16)) == inception


def zero(*layers: nn.Module) -> None:
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.zero_()


def test_a_residual_block_without_change_passes_its_input_on() -> None:
    block, x = ResidualBlock(6, 6).eval(), torch.randn(2, 6, 5, 4)
    zero(block.conv2)
    torch.testing.assert_close(block(x), F.relu(x))
    assert not list(block.shortcut.parameters())


def test_a_convnext_block_without_change_passes_its_input_on() -> None:
    block, x = ConvNeXtBlock(6, 6), torch.randn(2, 6, 5, 4)
    zero(block.narrow)
    torch.testing.assert_close(block(x), x)


def test_a_convnext_block_computes_what_torchvision_computes() -> None:
    ours = ConvNeXtBlock(8, 8).eval()
    theirs = torchvision.models.convnext.CNBlock(8, layer_scale=1.0, stochastic_depth_prob=0.0).eval()
    weights = {name: value for name, value in theirs.state_dict().items() if name != "layer_scale"}
    for target, source in zip(ours.parameters(), weights.values(), strict=True):
        target.data = source.reshape(target.shape).clone()
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_a_residual_block_computes_what_torchvision_computes() -> None:
    ours, theirs = ResidualBlock(6, 6).eval(), torchvision.models.resnet.BasicBlock(6, 6).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 6, 9, 7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_branches_of_an_inception_block_stand_side_by_side() -> None:
    block, x = InceptionBlock(6, 16).eval(), torch.randn(2, 6, 5, 4)
    y = block(x)
    torch.testing.assert_close(y[:, :4], block.one(x))
    torch.testing.assert_close(y[:, 4:12], block.three(x))
    torch.testing.assert_close(y[:, 12:14], block.five(x))
    torch.testing.assert_close(y[:, 14:], block.pooled(x))


def test_inception_wants_a_multiple_of_eight() -> None:
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        InceptionBlock(6, 12)


def test_the_net_names_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 1, 28, 28\), got \(2, 3, 28, 28\)"):
        BlockNet(VGGBlock, (8, 16))(torch.zeros(2, 3, 28, 28))


def test_depth_adds_blocks_after_the_second_pooling() -> None:
    one, three = BlockNet(VGGBlock, (8, 16)), BlockNet(VGGBlock, (8, 16), depth=3)
    assert count(three) - count(one) == 2 * count(VGGBlock(16, 16))


# multiply_adds


def test_multiply_adds_by_hand() -> None:
    assert multiply_adds(nn.Conv2d(6, 10, (3, 2), stride=2), (6, 9, 8)) == 6 * 10 * 3 * 2 * 4 * 4
    assert multiply_adds(nn.Conv2d(6, 12, 3, groups=3), (6, 5, 7)) == 12 * 2 * 3 * 3 * 3 * 5
    assert multiply_adds(nn.Linear(7, 5), (7,)) == 7 * 5
    assert multiply_adds(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), (3, 4, 5)) == 0


def test_multiply_adds_of_the_networks() -> None:
    lenet = 25 * 6 * 28 * 28 + 25 * 6 * 16 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10
    assert multiply_adds(LeNet(), (1, 32, 32)) == lenet
    with torch.device("meta"):
        assert round(multiply_adds(AlexNet(), (3, 224, 224)) / 1e6) == 714
        assert round(multiply_adds(torchvision.models.resnet50(), (3, 224, 224)) / 1e6) == 4089


def test_a_layer_that_is_used_twice_counts_twice() -> None:
    layer = nn.Conv2d(3, 3, 3, padding=1)
    assert multiply_adds(nn.Sequential(layer, layer), (3, 4, 5)) == 2 * multiply_adds(layer, (3, 4, 5))


def test_multiply_adds_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    multiply_adds(model, (1, 5, 5))
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
