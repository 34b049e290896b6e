"""The networks of the course, in PyTorch.

Each class says where it comes from, what it takes, the shape after every layer and its parameter count.
`N` is the number of images in the mini-batch; any `N` works, since only `flatten` mixes dimensions and it
leaves the first one alone. ReLU is called as a function where the sources do so; it changes no shape.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _require_images(x: Tensor, channels: int, height: int, width: int) -> None:
    """Raise ValueError unless `x` is a mini-batch of shape (N, channels, height, width)."""
    if tuple(x.shape[1:]) != (channels, height, width) or x.ndim != 4:
        raise ValueError(f"expected images of shape (N, {channels}, {height}, {width}), got {tuple(x.shape)}")


class ConvBlock(nn.Module):
    """Convolution, batch normalization, ReLU, max pooling: one block of `SimpleCNN`.

    The 3×3 convolution keeps the image size (padding 1), the 2×2 pooling halves it, rounding down. Batch
    normalization is from Ioffe and Szegedy (2015, arXiv:1502.03167).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.

    Notes
    -----
    Shapes for `ConvBlock(3, 16)` and images of 32×32 pixels:

    =====  ===============  ==========
    layer  output shape     parameters
    =====  ===============  ==========
    input  (N, 3, 32, 32)
    conv   (N, 16, 32, 32)  448
    bn     (N, 16, 32, 32)  32
    pool   (N, 16, 16, 16)  0
    total                   480
    =====  ===============  ==========
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.bn = nn.BatchNorm2d(out_channels)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H//2, W//2)."""
        return self.pool(F.relu(self.bn(self.conv(x))))


class SimpleCNN(nn.Module):
    """Conv-BN-ReLU-Pool twice, then global average pooling and one fully connected layer.

    Built step by step in chapter `10_simple_cnn`. Global average pooling is from Lin, Chen and Yan (2013,
    arXiv:1312.4400); thanks to it every image of at least 4×4 pixels fits.

    Parameters
    ----------
    in_channels : int
        Channels of the images, 3 for RGB.
    num_classes : int
        Length of the output of each image.

    Notes
    -----
    Shapes for `SimpleCNN(3, 10)` and images of 32×32 pixels:

    ===========  ===============  ==========
    layer        output shape     parameters
    ===========  ===============  ==========
    input        (N, 3, 32, 32)
    block1.conv  (N, 16, 32, 32)  448
    block1.bn    (N, 16, 32, 32)  32
    block1.pool  (N, 16, 16, 16)  0
    block2.conv  (N, 32, 16, 16)  4,640
    block2.bn    (N, 32, 16, 16)  64
    block2.pool  (N, 32, 8, 8)    0
    gap          (N, 32, 1, 1)    0
    flatten      (N, 32)          0
    fc           (N, 10)          330
    total                         5,514
    ===========  ===============  ==========
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        self.block1 = ConvBlock(in_channels, 16)
        self.block2 = ConvBlock(16, 32)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W), H and W ≥ 4, to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        channels = self.block1.conv.in_channels
        if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < 4:
            raise ValueError(
                f"expected images of shape (N, {channels}, H >= 4, W >= 4), got {tuple(x.shape)}"
            )
        x = self.block1(x)  # (N, 16, H//2, W//2)
        x = self.block2(x)  # (N, 32, H//4, W//4)
        x = self.flatten(self.gap(x))  # (N, 32)
        return self.fc(x)  # (N, num_classes)


class ConvMLP(nn.Module):
    """Two convolutions with dropout and batch normalization, then a fully connected net (an MLP).

    The network of the Japanese MNIST lesson that the course comes from, trained in chapter `11_training`.
    There the length of the flattened features is found with a forward pass of ones; here it is worked out:
    28 → 24 → 12 → 8 → 4, so 64 × 4 × 4 = 1,024.

    Parameters
    ----------
    num_classes : int
        Length of the output of each image.

    Notes
    -----
    ==============  ===============  ==========
    layer           output shape     parameters
    ==============  ===============  ==========
    input           (N, 1, 28, 28)
    conv_net.conv1  (N, 32, 24, 24)  832
    conv_net.pool1  (N, 32, 12, 12)  0
    conv_net.relu1  (N, 32, 12, 12)  0
    conv_net.bn1    (N, 32, 12, 12)  64
    conv_net.drop1  (N, 32, 12, 12)  0
    conv_net.conv2  (N, 64, 8, 8)    51,264
    conv_net.pool2  (N, 64, 4, 4)    0
    conv_net.relu2  (N, 64, 4, 4)    0
    conv_net.bn2    (N, 64, 4, 4)    128
    conv_net.drop2  (N, 64, 4, 4)    0
    flatten         (N, 1024)        0
    mlp.fc1         (N, 200)         205,000
    mlp.relu        (N, 200)         0
    mlp.bn          (N, 200)         400
    mlp.drop        (N, 200)         0
    mlp.fc2         (N, 10)          2,010
    total                            259,698
    ==============  ===============  ==========
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv_net = nn.Sequential()
        for i, (in_channels, out_channels) in enumerate([(1, 32), (32, 64)], start=1):
            self.conv_net.add_module(f"conv{i}", nn.Conv2d(in_channels, out_channels, 5))
            self.conv_net.add_module(f"pool{i}", nn.MaxPool2d(2))
            self.conv_net.add_module(f"relu{i}", nn.ReLU())
            self.conv_net.add_module(f"bn{i}", nn.BatchNorm2d(out_channels))
            self.conv_net.add_module(f"drop{i}", nn.Dropout2d(0.25))
        self.flatten = nn.Flatten()
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(64 * 4 * 4, 200))
        self.mlp.add_module("relu", nn.ReLU())
        self.mlp.add_module("bn", nn.BatchNorm1d(200))
        self.mlp.add_module("drop", nn.Dropout(0.25))
        self.mlp.add_module("fc2", nn.Linear(200, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 1, 28, 28)
        x = self.conv_net(x)  # (N, 64, 4, 4)
        x = self.flatten(x)  # (N, 1024)
        return self.mlp(x)  # (N, num_classes)


class LeNet(nn.Module):
    """Two convolutions and three fully connected layers, after LeNet-5.

    LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document recognition",
    in today's form, as chapter `09_pytorch_nn` builds it: ReLU and max pooling where the paper has tanh and
    trainable average pooling, and a plain fully connected output layer.

    Parameters
    ----------
    num_classes : int
        Length of the output of each image.

    Notes
    -----
    =======  ===============  ==========
    layer    output shape     parameters
    =======  ===============  ==========
    input    (N, 1, 32, 32)
    conv1    (N, 6, 28, 28)   156
    pool1    (N, 6, 14, 14)   0
    conv2    (N, 16, 10, 10)  2,416
    pool2    (N, 16, 5, 5)    0
    flatten  (N, 400)         0
    fc1      (N, 120)         48,120
    fc2      (N, 84)          10,164
    fc3      (N, 10)          850
    total                     61,706
    =======  ===============  ==========
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 32, 32) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 1, 32, 32)
        x = self.pool1(F.relu(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool2(F.relu(self.conv2(x)))  # (N, 16, 5, 5)
        x = self.flatten(x)  # (N, 400)
        x = F.relu(self.fc1(x))  # (N, 120)
        x = F.relu(self.fc2(x))  # (N, 84)
        return self.fc3(x)  # (N, num_classes)


class AlexNet(nn.Module):
    """AlexNet as one column of layers: the graded task of chapter `13_alexnet`.

    Krizhevsky, Sutskever and Hinton (2012), "ImageNet classification with deep convolutional neural
    networks", in the single-column form that Krizhevsky (2014, arXiv:1404.5997) introduced, with the widths
    64-192-384-256-256 of the course's diagram and of `torchvision.models.alexnet` (a footnote of the 2014
    paper has 384 in the fourth place). There is no local response normalization. Pooling overlaps (3×3,
    stride 2) as published; 2×2 pooling gives the same sizes here (55 → 27, 27 → 13, 13 → 6), so an answer
    with 2×2 windows fits the diagram too.

    Parameters
    ----------
    num_classes : int
        Length of the output of each image.
    dropout : float
        Probability of dropping an output of `fc1` and of `fc2`. The diagram shows none, hence 0;
        the published network drops half (0.5).

    Notes
    -----
    ========  ================  ==========
    layer     output shape      parameters
    ========  ================  ==========
    input     (N, 3, 224, 224)
    conv1     (N, 64, 55, 55)   23,296
    pool1     (N, 64, 27, 27)   0
    conv2     (N, 192, 27, 27)  307,392
    pool2     (N, 192, 13, 13)  0
    conv3     (N, 384, 13, 13)  663,936
    conv4     (N, 256, 13, 13)  884,992
    conv5     (N, 256, 13, 13)  590,080
    pool5     (N, 256, 6, 6)    0
    flatten   (N, 9216)         0
    fc1       (N, 4096)         37,752,832
    drop1     (N, 4096)         0
    fc2       (N, 4096)         16,781,312
    drop2     (N, 4096)         0
    fc3       (N, 1000)         4,097,000
    total                       61,100,840
    ========  ================  ==========
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2)
        self.pool1 = nn.MaxPool2d(3, stride=2)
        self.conv2 = nn.Conv2d(64, 192, kernel_size=5, padding=2)
        self.pool2 = nn.MaxPool2d(3, stride=2)
        self.conv3 = nn.Conv2d(192, 384, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, kernel_size=3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, kernel_size=3, padding=1)
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(256 * 6 * 6, 4096)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(4096, 4096)
        self.drop2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(4096, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 224, 224) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 3, 224, 224)
        x = self.pool1(F.relu(self.conv1(x)))  # (N, 64, 27, 27)
        x = self.pool2(F.relu(self.conv2(x)))  # (N, 192, 13, 13)
        x = F.relu(self.conv3(x))  # (N, 384, 13, 13)
        x = F.relu(self.conv4(x))  # (N, 256, 13, 13)
        x = self.pool5(F.relu(self.conv5(x)))  # (N, 256, 6, 6)
        x = self.flatten(x)  # (N, 9216)
        x = self.drop1(F.relu(self.fc1(x)))  # (N, 4096)
        x = self.drop2(F.relu(self.fc2(x)))  # (N, 4096)
        return self.fc3(x)  # (N, num_classes)


class SlimAlexNet(nn.Module):
    """AlexNet in small, for gray images of 28×28 pixels: trained in chapter `13_alexnet`.

    The same five convolutions, three max poolings and three fully connected layers as `AlexNet`, with an
    eighth of the channels and 128 instead of 4,096 features. The first convolution has a 5×5 kernel and
    stride 1, since the images are an eighth as wide, and the poolings have 2×2 windows. Own design.

    Parameters
    ----------
    num_classes : int
        Length of the output of each image.
    dropout : float
        Probability of dropping an output of `fc1` and of `fc2`.

    Notes
    -----
    =======  ===============  ==========
    layer    output shape     parameters
    =======  ===============  ==========
    input    (N, 1, 28, 28)
    conv1    (N, 8, 28, 28)   208
    pool1    (N, 8, 14, 14)   0
    conv2    (N, 24, 14, 14)  4,824
    pool2    (N, 24, 7, 7)    0
    conv3    (N, 48, 7, 7)    10,416
    conv4    (N, 32, 7, 7)    13,856
    conv5    (N, 32, 7, 7)    9,248
    pool5    (N, 32, 3, 3)    0
    flatten  (N, 288)         0
    fc1      (N, 128)         36,992
    drop1    (N, 128)         0
    fc2      (N, 128)         16,512
    drop2    (N, 128)         0
    fc3      (N, 10)          1,290
    total                     93,346
    =======  ===============  ==========
    """

    def __init__(self, num_classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 24, kernel_size=5, padding=2)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(24, 48, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(48, 32, kernel_size=3, padding=1)
        self.conv5 = nn.Conv2d(32, 32, kernel_size=3, padding=1)
        self.pool5 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(32 * 3 * 3, 128)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(128, 128)
        self.drop2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 1, 28, 28)
        x = self.pool1(F.relu(self.conv1(x)))  # (N, 8, 14, 14)
        x = self.pool2(F.relu(self.conv2(x)))  # (N, 24, 7, 7)
        x = F.relu(self.conv3(x))  # (N, 48, 7, 7)
        x = F.relu(self.conv4(x))  # (N, 32, 7, 7)
        x = self.pool5(F.relu(self.conv5(x)))  # (N, 32, 3, 3)
        x = self.flatten(x)  # (N, 288)
        x = self.drop1(F.relu(self.fc1(x)))  # (N, 128)
        x = self.drop2(F.relu(self.fc2(x)))  # (N, 128)
        return self.fc3(x)  # (N, num_classes)


class ThreeConvNet(nn.Module):
    """Three 5×5 convolutions, two max poolings and two fully connected layers.

    The MNIST network of the Korean lesson that the course comes from, trained in chapter `11_training`.
    It flattens by the shape of its input, so the last, smaller mini-batch of an epoch passes as well.

    Parameters
    ----------
    num_classes : int
        Length of the output of each image.

    Notes
    -----
    =======  ===============  ==========
    layer    output shape     parameters
    =======  ===============  ==========
    input    (N, 1, 28, 28)
    conv1    (N, 16, 24, 24)  416
    conv2    (N, 32, 20, 20)  12,832
    pool2    (N, 32, 10, 10)  0
    conv3    (N, 64, 6, 6)    51,264
    pool3    (N, 64, 3, 3)    0
    flatten  (N, 576)         0
    fc1      (N, 100)         57,700
    fc2      (N, 10)          1,010
    total                     123,222
    =======  ===============  ==========
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=5)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=5)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 64, kernel_size=5)
        self.pool3 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(64 * 3 * 3, 100)
        self.fc2 = nn.Linear(100, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 1, 28, 28)
        x = F.relu(self.conv1(x))  # (N, 16, 24, 24)
        x = self.pool2(F.relu(self.conv2(x)))  # (N, 32, 10, 10)
        x = self.pool3(F.relu(self.conv3(x)))  # (N, 64, 3, 3)
        x = self.flatten(x)  # (N, 576)
        x = F.relu(self.fc1(x))  # (N, 100)
        return self.fc2(x)  # (N, num_classes)


class FastNet(nn.Module):
    """A small convolutional network that reads MNIST within seconds on a CPU.

    Four (or three) convolutions without bias, each followed by batch normalization and ReLU, two max
    poolings and one fully connected layer. Pooling comes before normalization: the largest of four values
    stays the largest under an increasing function, so the result hardly changes, while normalization and
    ReLU then work on a quarter of the values. Chapter `11_training`; own design.

    Parameters
    ----------
    width : int
        Channels of the first layer; the others have 2, 2 and 4 times as many.
    depth : int
        4, or 3 for the same without conv2 and norm2: quicker, and a little less accurate.
    num_classes : int
        Length of the output of each image.

    Raises
    ------
    ValueError
        If `depth` is neither 3 nor 4.

    Notes
    -----
    For ``width=16, depth=4``:

    =======  ===============  ==========
    layer    output shape     parameters
    =======  ===============  ==========
    input    (N, 1, 28, 28)
    conv1    (N, 16, 24, 24)  400
    pool1    (N, 16, 12, 12)  0
    norm1    (N, 16, 12, 12)  32
    conv2    (N, 32, 10, 10)  4,608
    norm2    (N, 32, 10, 10)  64
    conv3    (N, 32, 8, 8)    9,216
    pool3    (N, 32, 4, 4)    0
    norm3    (N, 32, 4, 4)    64
    conv4    (N, 64, 2, 2)    18,432
    norm4    (N, 64, 2, 2)    128
    flatten  (N, 256)         0
    fc       (N, 10)          2,570
    total                     35,514
    =======  ===============  ==========

    With ``depth=3``, conv3 gives (N, 32, 10, 10), conv4 (N, 64, 3, 3), and there are 29,434 parameters.
    """

    def __init__(self, width: int = 16, depth: int = 4, num_classes: int = 10) -> None:
        super().__init__()
        if depth not in (3, 4):
            raise ValueError(f"depth must be 3 or 4, got {depth}")
        self.depth = depth
        self.conv1 = nn.Conv2d(1, width, kernel_size=5, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        if depth == 4:
            self.conv2 = nn.Conv2d(width, 2 * width, kernel_size=3, bias=False)
            self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width if depth == 4 else width, 2 * width, kernel_size=3, bias=False)
        self.norm3 = nn.BatchNorm2d(2 * width)
        self.conv4 = nn.Conv2d(2 * width, 4 * width, kernel_size=3, bias=False)
        self.norm4 = nn.BatchNorm2d(4 * width)
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * width * (2 * 2 if depth == 4 else 3 * 3), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 1, 28, 28)
        x = F.relu(self.norm1(self.pool(self.conv1(x))))  # (N, 16, 12, 12)
        if self.depth == 4:
            x = F.relu(self.norm2(self.conv2(x)))  # (N, 32, 10, 10)
        x = F.relu(self.norm3(self.pool(self.conv3(x))))  # (N, 32, 4, 4)
        x = F.relu(self.norm4(self.conv4(x)))  # (N, 64, 2, 2)
        x = self.flatten(x)  # (N, 256)
        return self.fc(x)  # (N, num_classes)


class VGGBlock(nn.Sequential):
    """Two 3×3 convolutions, each with batch normalization and ReLU: they see as far as one 5×5.

    Simonyan and Zisserman (2014, arXiv:1409.1556); batch normalization, which is younger, is added. Chapter
    `14_modern_cnns`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after; the image size stays.

    Notes
    -----
    Shapes for `VGGBlock(16, 32)` and images of 14×14 pixels; the convolutions have no bias, since batch
    normalization subtracts it again:

    =====  ===============  ==========
    layer  output shape     parameters
    =====  ===============  ==========
    input  (N, 16, 14, 14)
    conv1  (N, 32, 14, 14)  4,608
    norm1  (N, 32, 14, 14)  64
    conv2  (N, 32, 14, 14)  9,216
    norm2  (N, 32, 14, 14)  64
    total                   13,952
    =====  ===============  ==========
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
                norm1=nn.BatchNorm2d(out_channels),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                norm2=nn.BatchNorm2d(out_channels),
                relu2=nn.ReLU(),
            )
        )


class InceptionBlock(nn.Module):
    """Four branches side by side, their channels joined: 1×1, 3×3 and 5×5 convolutions and a pooling.

    The Inception module of GoogLeNet, Szegedy et al. (2014, arXiv:1409.4842), with 1×1 convolutions that
    narrow the channels before the 3×3 and the 5×5 (the bottleneck). Batch normalization is added, and the
    shares of the branches are fixed. Chapter `14_modern_cnns`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after, `out_channels` a multiple of 8: a quarter of them comes from the 1×1, half
        from the 3×3, an eighth each from the 5×5 and the pooling. The image size stays.

    Raises
    ------
    ValueError
        If `out_channels` is not a multiple of 8.

    Notes
    -----
    Shapes for `InceptionBlock(16, 32)` and images of 14×14 pixels; every convolution with its batch
    normalization and without bias:

    ===========  ===============  ==========
    layer        output shape     parameters
    ===========  ===============  ==========
    input        (N, 16, 14, 14)
    one          (N, 8, 14, 14)   144
    three.0      (N, 8, 14, 14)   144
    three.1      (N, 16, 14, 14)  1,184
    five.0       (N, 4, 14, 14)   72
    five.1       (N, 4, 14, 14)   408
    pooled.0     (N, 16, 14, 14)  0
    pooled.1     (N, 4, 14, 14)   72
    concatenate  (N, 32, 14, 14)  0
    total                         2,024
    ===========  ===============  ==========
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels % 8:
            raise ValueError(f"out_channels must be a multiple of 8, got {out_channels}")
        eighth = out_channels // 8
        self.one = _conv_norm_relu(in_channels, 2 * eighth, 1)
        self.three = nn.Sequential(
            _conv_norm_relu(in_channels, 2 * eighth, 1), _conv_norm_relu(2 * eighth, 4 * eighth, 3)
        )
        self.five = nn.Sequential(_conv_norm_relu(in_channels, eighth, 1), _conv_norm_relu(eighth, eighth, 5))
        self.pooled = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), _conv_norm_relu(in_channels, eighth, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], dim=1)


class ResidualBlock(nn.Module):
    """``relu(x + F(x))`` with two 3×3 convolutions as F; the shortcut brings x unchanged, if it can.

    He, Zhang, Ren and Sun (2015, arXiv:1512.03385). Where the number of channels changes, the shortcut is a
    1×1 convolution with batch normalization. Chapter `14_modern_cnns`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after; the image size stays.

    Notes
    -----
    Shapes for `ResidualBlock(16, 32)` and images of 14×14 pixels; with as many channels before as after,
    the shortcut has no parameters:

    ==========  ===============  ==========
    layer       output shape     parameters
    ==========  ===============  ==========
    input       (N, 16, 14, 14)
    conv1       (N, 32, 14, 14)  4,608
    norm1       (N, 32, 14, 14)  64
    conv2       (N, 32, 14, 14)  9,216
    norm2       (N, 32, 14, 14)  64
    shortcut.0  (N, 32, 14, 14)  512
    shortcut.1  (N, 32, 14, 14)  64
    total                        14,528
    ==========  ===============  ==========
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        F_x = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))  # (N, OC, H, W)
        return F.relu(self.shortcut(x) + F_x)  # (N, OC, H, W)


class DepthwiseSeparable(nn.Sequential):
    """A 3×3 convolution for each channel by itself, then a 1×1 convolution that mixes the channels.

    The block of MobileNet, Howard et al. (2017, arXiv:1704.04861), without stride. Chapter
    `14_modern_cnns`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after; the image size stays.

    Notes
    -----
    Shapes for `DepthwiseSeparable(16, 32)` and images of 14×14 pixels:

    =========  ===============  ==========
    layer      output shape     parameters
    =========  ===============  ==========
    input      (N, 16, 14, 14)
    depthwise  (N, 16, 14, 14)  144
    norm1      (N, 16, 14, 14)  32
    pointwise  (N, 32, 14, 14)  512
    norm2      (N, 32, 14, 14)  64
    total                       752
    =========  ===============  ==========
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            OrderedDict(
                depthwise=nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
                norm1=nn.BatchNorm2d(in_channels),
                relu1=nn.ReLU(),
                pointwise=nn.Conv2d(in_channels, out_channels, 1, bias=False),
                norm2=nn.BatchNorm2d(out_channels),
                relu2=nn.ReLU(),
            )
        )


class ConvNeXtBlock(nn.Module):
    """``x + F(x)``: a 7×7 depthwise convolution, LayerNorm, then 1×1 up to four times the channels and back.

    Liu et al. (2022, arXiv:2201.03545), without layer scale and stochastic depth. There a block never
    changes the number of channels; here it may, with a 1×1 convolution as shortcut, so that it can stand
    where the other blocks stand. Chapter `14_modern_cnns`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after; the image size stays.

    Notes
    -----
    Shapes for `ConvNeXtBlock(16, 32)` and images of 14×14 pixels:

    =========  ===============  ==========
    layer      output shape     parameters
    =========  ===============  ==========
    input      (N, 16, 14, 14)
    depthwise  (N, 16, 14, 14)  800
    norm       (N, 16, 14, 14)  32
    widen      (N, 64, 14, 14)  1,088
    narrow     (N, 32, 14, 14)  2,080
    shortcut   (N, 32, 14, 14)  544
    total                       4,544
    =========  ===============  ==========
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels)
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        self.widen = nn.Conv2d(in_channels, 4 * in_channels, 1)
        self.narrow = nn.Conv2d(4 * in_channels, out_channels, 1)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        F_x = self.depthwise(x).permute(0, 2, 3, 1)  # (N, H, W, C)
        F_x = self.norm(F_x).permute(0, 3, 1, 2)  # (N, C, H, W)
        F_x = self.narrow(F.gelu(self.widen(F_x)))  # (N, OC, H, W)
        return self.shortcut(x) + F_x  # (N, OC, H, W)


class BlockNet(nn.Module):
    """A stem, a block at 14×14 pixels, blocks at 7×7, global average pooling, one fully connected layer.

    The same frame around different blocks, so that chapter `14_modern_cnns` can compare them.

    Parameters
    ----------
    block : callable
        ``block(in_channels, out_channels)`` gives a module that keeps the image size, such as `VGGBlock`.
    channels : (int, int)
        Channels of the blocks before and after the second pooling.
    depth : int
        Blocks after the second pooling; before it there is one.
    num_classes : int
        Length of the output of each image.

    Notes
    -----
    Shapes for `BlockNet(VGGBlock, (16, 32))`:

    ==========  ===============  ==========
    layer       output shape     parameters
    ==========  ===============  ==========
    input       (N, 1, 28, 28)
    stem        (N, 16, 14, 14)  176
    stage1      (N, 16, 14, 14)  4,672
    pool        (N, 16, 7, 7)    0
    stage2      (N, 32, 7, 7)    13,952
    gap         (N, 32, 1, 1)    0
    flatten     (N, 32)          0
    fc          (N, 10)          330
    total                        19,130
    ==========  ===============  ==========
    """

    def __init__(
        self,
        block: Callable[[int, int], nn.Module],
        channels: tuple[int, int],
        depth: int = 1,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        first, second = channels
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        self.stage1 = block(first, first)
        self.pool = nn.MaxPool2d(2)
        self.stage2 = nn.Sequential(*[block(second if i else first, second) for i in range(depth)])
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(second, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to one logit per class (N, num_classes).

        Raises ValueError for an input of another shape.
        """
        _require_images(x, 1, 28, 28)
        x = self.stage1(self.stem(x))  # (N, first, 14, 14)
        x = self.stage2(self.pool(x))  # (N, second, 7, 7)
        x = self.flatten(self.gap(x))  # (N, second)
        return self.fc(x)  # (N, num_classes)


def multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> int:
    """How many multiplications, each with its addition, the weights of `model` take for one input.

    Every number that a convolution or a fully connected layer puts out costs as many as it has weights: KH ×
    KW × channels of one group, or the length of the input. Biases, normalization, activation and pooling
    are not counted.

    Parameters
    ----------
    model : nn.Module
        It comes back in the mode that it was in.
    shape : tuple of int
        One input without the batch axis, such as (1, 28, 28).
    """
    counts: list[int] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        counts.append(output.numel() * layer.weight[0].numel())  # type: ignore[operator, index, union-attr]

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    modes = {module: module.training for module in model.modules()}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return sum(counts)


def _conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A convolution that keeps the image size, batch normalization, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
