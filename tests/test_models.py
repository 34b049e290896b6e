"""The course's networks: hand-computed parameter counts, shapes, docstring tables, gradients, messages."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
import torchvision
from torch import nn
from torchsummary import summary

from cnnlab.models import AlexNet, ConvBlock, ConvMLP, LeNet, SimpleCNN, ThreeConvNet

# Class, shape of one image, number of classes by default.
MODELS = [
    (SimpleCNN, (3, 32, 32), 10),
    (ConvMLP, (1, 28, 28), 10),
    (LeNet, (1, 32, 32), 10),
    (AlexNet, (3, 224, 224), 1000),
    (ThreeConvNet, (1, 28, 28), 10),
]
IDS = [cls.__name__ for cls, *_ in MODELS]
each_model = pytest.mark.parametrize(("cls", "image", "num_classes"), MODELS, ids=IDS)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_simple_cnn_count() -> None:
    conv1, bn1 = 16 * (3 * 3 * 3) + 16, 16 + 16
    conv2, bn2 = 32 * (16 * 3 * 3) + 32, 32 + 32
    fc = 10 * 32 + 10
    assert (conv1, bn1, conv2, bn2, fc) == (448, 32, 4640, 64, 330)
    assert count(SimpleCNN()) == conv1 + bn1 + conv2 + bn2 + fc == 5514


def test_simple_cnn_count_gray() -> None:
    conv1 = 16 * (1 * 3 * 3) + 16
    assert count(SimpleCNN(in_channels=1, num_classes=4)) == conv1 + 32 + 4640 + 64 + (4 * 32 + 4)


def test_conv_mlp_count() -> None:
    conv1, bn1 = 32 * (1 * 5 * 5) + 32, 32 + 32
    conv2, bn2 = 64 * (32 * 5 * 5) + 64, 64 + 64
    fc1, bn, fc2 = 200 * (64 * 4 * 4) + 200, 200 + 200, 10 * 200 + 10
    assert count(ConvMLP()) == conv1 + bn1 + conv2 + bn2 + fc1 + bn + fc2 == 259_698


def test_lenet_count() -> None:
    conv1, conv2 = 6 * (1 * 5 * 5) + 6, 16 * (6 * 5 * 5) + 16
    fc1, fc2, fc3 = 120 * (16 * 5 * 5) + 120, 84 * 120 + 84, 10 * 84 + 10
    assert count(LeNet()) == conv1 + conv2 + fc1 + fc2 + fc3 == 61_706


def test_three_conv_net_count() -> None:
    conv1, conv2, conv3 = 16 * (1 * 5 * 5) + 16, 32 * (16 * 5 * 5) + 32, 64 * (32 * 5 * 5) + 64
    fc1, fc2 = 100 * (64 * 3 * 3) + 100, 10 * 100 + 10
    assert count(ThreeConvNet()) == conv1 + conv2 + conv3 + fc1 + fc2 == 123_222


def test_alexnet_count() -> None:
    convolutions = (
        (64 * (3 * 11 * 11) + 64)
        + (192 * (64 * 5 * 5) + 192)
        + (384 * (192 * 3 * 3) + 384)
        + (256 * (384 * 3 * 3) + 256)
        + (256 * (256 * 3 * 3) + 256)
    )
    connected = (4096 * (256 * 6 * 6) + 4096) + (4096 * 4096 + 4096) + (1000 * 4096 + 1000)
    assert count(AlexNet()) == convolutions + connected == 61_100_840
    assert count(AlexNet()) == count(torchvision.models.alexnet(weights=None))


def test_alexnet_computes_what_torchvision_computes() -> None:
    ours, theirs = (
        AlexNet(num_classes=5).eval(),
        torchvision.models.alexnet(weights=None, num_classes=5).eval(),
    )
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_alexnet_dropout_is_optional() -> None:
    assert [AlexNet(2).drop1.p, AlexNet(2).drop2.p] == [0.0, 0.0]
    assert [AlexNet(2, dropout=0.5).drop1.p, AlexNet(2, dropout=0.5).drop2.p] == [0.5, 0.5]


@pytest.mark.parametrize(("size", "pooled"), [(55, 27), (27, 13), (13, 6)])
def test_alexnet_poolings_of_diagram_and_paper_agree(size: int, pooled: int) -> None:
    x = torch.zeros(1, 1, size, size)
    assert nn.MaxPool2d(2)(x).shape == nn.MaxPool2d(3, stride=2)(x).shape == (1, 1, pooled, pooled)


@each_model
def test_any_batch_size(cls: type[nn.Module], image: tuple[int, ...], num_classes: int) -> None:
    model = cls().eval()
    for n in (1, 2, 7):
        with torch.no_grad():
            y = model(torch.randn(n, *image))
        assert y.shape == (n, num_classes)
        assert y.dtype == torch.float32


@each_model
def test_images_of_a_batch_do_not_mix(cls: type[nn.Module], image: tuple[int, ...], num_classes: int) -> None:
    model, x = cls().eval(), torch.randn(3, *image)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


@each_model
def test_num_classes(cls: type[nn.Module], image: tuple[int, ...], num_classes: int) -> None:
    assert cls(num_classes=3).eval()(torch.zeros(2, *image)).shape == (2, 3)


def documented_table(cls: type) -> list[tuple[str, str, str]]:
    """Rows (layer, output shape, parameters) of the table in the docstring of `cls`."""
    rules = re.split(r"^ *=+  =+  =+$\n?", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    rows = [re.match(r"(\S+) +(\(.*?\))? *([\d,]*)$", line) for line in rules[2].splitlines()]
    assert all(rows), rules[2]
    return [(row[1], row[2] or "", row[3]) for row in rows if row]


def measured_table(model: nn.Module, x: torch.Tensor) -> list[tuple[str, str, str]]:
    """The same rows, from the layers as they run."""

    def row(name: str, shape: torch.Size, parameters: str) -> tuple[str, str, str]:
        return name, "(" + ", ".join(["N", *map(str, shape[1:])]) + ")", parameters

    rows = [row("input", x.shape, "")]
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda m, _, y, name=name: rows.append(row(name, y.shape, f"{count(m):,}"))
            )
    with torch.no_grad():
        model.eval()(x)
    return [*rows, ("total", "", f"{count(model):,}")]


@each_model
def test_docstring_table_is_true(cls: type[nn.Module], image: tuple[int, ...], num_classes: int) -> None:
    assert documented_table(cls) == measured_table(cls(), torch.zeros(2, *image))


def test_docstring_table_of_the_block_is_true() -> None:
    assert documented_table(ConvBlock) == measured_table(ConvBlock(3, 16), torch.zeros(2, 3, 32, 32))


def test_docstring_table_test_can_fail() -> None:
    rows = documented_table(LeNet)
    assert rows != measured_table(LeNet(num_classes=11), torch.zeros(2, 1, 32, 32))
    assert rows[1] == ("conv1", "(N, 6, 28, 28)", "156")


@each_model
def test_gradient_reaches_every_parameter(
    cls: type[nn.Module], image: tuple[int, ...], num_classes: int
) -> None:
    model = cls(num_classes=3).eval()
    nn.functional.cross_entropy(model(torch.randn(2, *image)), torch.tensor([0, 2])).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@each_model
def test_trains_in_train_mode(cls: type[nn.Module], image: tuple[int, ...], num_classes: int) -> None:
    model = cls(num_classes=2).train()
    assert model(torch.randn(3, *image)).shape == (3, 2)


@each_model
def test_torchsummary(
    cls: type[nn.Module], image: tuple[int, ...], num_classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = cls()
    summary(model, image, device="cpu")
    assert f"Total params: {count(model):,}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (SimpleCNN, ["block1", "block2", "gap", "flatten", "fc"]),
        (ConvMLP, ["conv_net", "flatten", "mlp"]),
        (LeNet, ["conv1", "pool1", "conv2", "pool2", "flatten", "fc1", "fc2", "fc3"]),
        (
            AlexNet,
            ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "flatten"]
            + ["fc1", "drop1", "fc2", "drop2", "fc3"],
        ),
        (ThreeConvNet, ["conv1", "conv2", "pool2", "conv3", "pool3", "flatten", "fc1", "fc2"]),
    ],
    ids=IDS,
)
def test_submodule_names(cls: type[nn.Module], names: list[str]) -> None:
    assert [name for name, _ in cls().named_children()] == names


@each_model
@pytest.mark.parametrize("wrong", ["channels", "size", "unbatched"])
def test_wrong_shape_is_named(
    cls: type[nn.Module], image: tuple[int, ...], num_classes: int, wrong: str
) -> None:
    channels, height, width = image
    x = {
        "channels": torch.zeros(2, channels + 1, height, width),
        "size": torch.zeros(2, channels, 3, width),
        "unbatched": torch.zeros(image),
    }[wrong]
    with pytest.raises(ValueError) as error:
        cls()(x)
    assert f"expected images of shape (N, {channels}, " in str(error.value)
    assert f"got {tuple(x.shape)}" in str(error.value)


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (37, 51), (48, 48)])
def test_simple_cnn_takes_any_size(size: tuple[int, int]) -> None:
    assert SimpleCNN().eval()(torch.zeros(2, 3, *size)).shape == (2, 10)


def test_simple_cnn_is_two_blocks_and_an_average() -> None:
    model = SimpleCNN().eval()
    image = torch.randn(2, 3, 32, 32)
    x = image
    for block in (model.block1, model.block2):
        x = torch.relu(block.bn(block.conv(x))).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    assert x.shape == (2, 32, 8, 8)
    expected = x.mean((2, 3)) @ model.fc.weight.T + model.fc.bias
    torch.testing.assert_close(model(image), expected)
