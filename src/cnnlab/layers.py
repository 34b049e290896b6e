"""The layers of a network in NumPy, forward and backward side by side, and what trains them (chapter 08).

Names and arguments are those of `torch.nn` and `torch.optim`; the numerics are those of `cnnlab.ops`. A
layer remembers what its last `forward` was given, since its `backward` needs that. What is learned is a
`Parameter`: an array and its gradient.

Sizes: N images, C channels of H x W pixels; OC filters of KH x KW; OH x OW outputs; D features, K classes.
"""

from collections.abc import Iterable
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cnnlab import ops
from cnnlab.shapes import pair, single

__all__ = [
    "SGD",
    "AvgPool2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "ReLU",
    "Sequential",
    "he",
    "predict",
]

Array = NDArray[Any]
IntPair = int | tuple[int, int]


class Parameter:
    """An array to be learned, and the gradient of the loss with respect to it.

    Attributes
    ----------
    data : array, any shape
        The numbers; an optimizer changes them in place.
    grad : array of the same shape and dtype
        Written by `Layer.backward`: replaced each time, not added to as in torch. Zeros before the first.
    """

    def __init__(self, data: Array):
        self.data = data
        self.grad = np.zeros_like(data)

    def __repr__(self) -> str:
        return f"Parameter{self.data.shape}"


def he(shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Array:
    """Random weights whose outputs stay as large as their inputs through layers with ReLU.

    They are normal, with mean 0 and standard deviation ``sqrt(2 / fan_in)``; `fan_in` is how many inputs one
    output adds up.

    Parameters
    ----------
    shape : (OC, C, KH, KW) or (K, D)
        The first size counts the outputs; the product of the others is `fan_in`.
    rng : numpy.random.Generator
        The same generator in the same state gives the same weights.
    dtype : dtype

    Returns
    -------
    array of `dtype`, `shape`

    Source: K. He, X. Zhang, S. Ren, J. Sun, Delving deep into rectifiers, ICCV 2015.
    """
    return (sqrt(2 / prod(shape[1:])) * rng.standard_normal(shape)).astype(dtype)


class Layer:
    """What all layers have: `forward`, `backward`, `parameters`.

    ``layer(x)`` is ``layer.forward(x)``.
    """

    x: Array | None = None  # what the last forward was given

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """The output for `x`, which is remembered."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, grad_out: Array) -> Array:
        """From the gradient with respect to the last output to the one with respect to its input.

        The gradients of the parameters are written to their `grad`.

        Raises
        ------
        RuntimeError
            If nothing has gone forward yet.
        TypeError, ValueError
            If `grad_out` has not the shape and dtype of the last output.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def parameters(self) -> list[Parameter]:
        """What is learned; nothing, unless a layer says otherwise."""
        return []

    def _seen(self) -> Array:
        if self.x is None:
            raise RuntimeError(f"{type(self).__name__}.backward came before forward: call forward first")
        return self.x


# --- layers with parameters ----------------------------------------------------------------------------


class Conv2d(Layer):
    """A convolutional layer (`torch.nn.Conv2d`, chapters 02-07): (N, C, H, W) to (N, OC, OH, OW).

    Parameters
    ----------
    in_channels, out_channels : int
        C and OC.
    kernel_size, stride, padding : int or (int, int)
        In pixels; the padding is zero.
    rng : numpy.random.Generator
        For the weights, see `he`. The bias begins at 0.
    dtype : dtype
        Of the parameters, and so of the images that can go through.

    Attributes
    ----------
    weight : Parameter, (OC, C, KH, KW)
    bias : Parameter, (OC,)

    Raises
    ------
    TypeError, ValueError
        If a size is no positive integer; in `forward` and `backward` as `ops.conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        *,
        stride: IntPair = 1,
        padding: IntPair = 0,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ):
        C, OC = single(in_channels, "in_channels"), single(out_channels, "out_channels")
        self.weight = Parameter(he((OC, C, *pair(kernel_size, "kernel_size")), rng, dtype))
        self.bias = Parameter(np.zeros(OC, dtype))
        self.stride, self.padding = pair(stride, "stride"), pair(padding, "padding", minimum=0)

    def forward(self, x: Array) -> Array:
        out = ops.conv2d(x, self.weight.data, self.bias.data, stride=self.stride, padding=self.padding)
        self.x = x
        return out

    def backward(self, grad_out: Array) -> Array:
        grad_x, self.weight.grad, self.bias.grad = ops.conv2d_backward(
            grad_out, self._seen(), self.weight.data, stride=self.stride, padding=self.padding
        )
        return grad_x

    def parameters(self) -> list[Parameter]:
        return [self.weight, self.bias]


class Linear(Layer):
    """A fully connected layer (`torch.nn.Linear`): (N, D) to (N, K).

    Parameters
    ----------
    in_features, out_features : int
        D and K.
    rng : numpy.random.Generator
        For the weights, see `he`. The bias begins at 0.
    dtype : dtype
        Of the parameters, and so of the features that can go through.

    Attributes
    ----------
    weight : Parameter, (K, D)
    bias : Parameter, (K,)

    Raises
    ------
    TypeError, ValueError
        If a size is no positive integer; in `forward` and `backward` as `ops.linear`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ):
        D, K = single(in_features, "in_features"), single(out_features, "out_features")
        self.weight = Parameter(he((K, D), rng, dtype))
        self.bias = Parameter(np.zeros(K, dtype))

    def forward(self, x: Array) -> Array:
        D = self.weight.data.shape[1]
        if np.ndim(x) != 2 or x.shape[1] != D:
            raise ValueError(f"Linear wants x of shape (N, {D}), got {np.shape(x)}")
        out = ops.linear(x, self.weight.data, self.bias.data)
        self.x = x
        return out

    def backward(self, grad_out: Array) -> Array:
        grad_x, self.weight.grad, self.bias.grad = ops.linear_backward(
            grad_out, self._seen(), self.weight.data
        )
        return grad_x

    def parameters(self) -> list[Parameter]:
        return [self.weight, self.bias]


# --- layers without ------------------------------------------------------------------------------------


class ReLU(Layer):
    """Negative values become 0 (`torch.nn.ReLU`): any shape."""

    def forward(self, x: Array) -> Array:
        out = ops.relu(x)
        self.x = x
        return out

    def backward(self, grad_out: Array) -> Array:
        return ops.relu_backward(grad_out, self._seen())


class MaxPool2d(Layer):
    """The largest value of every window (`torch.nn.MaxPool2d`, chapter 05): (N, C, H, W) to (N, C, OH, OW).

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        As in `ops.max_pool2d`: the stride is the window's own size unless given.
    """

    def __init__(self, kernel_size: IntPair, *, stride: IntPair | None = None, padding: IntPair = 0):
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.padding = pair(padding, "padding", minimum=0)

    def forward(self, x: Array) -> Array:
        out = ops.max_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)
        self.x = x
        return out

    def backward(self, grad_out: Array) -> Array:
        options: dict[str, Any] = {"stride": self.stride, "padding": self.padding}
        return ops.max_pool2d_backward(grad_out, self._seen(), self.kernel_size, **options)


class AvgPool2d(MaxPool2d):
    """The mean of every window (`torch.nn.AvgPool2d`, chapter 05); everything else as `MaxPool2d`."""

    def forward(self, x: Array) -> Array:
        out = ops.avg_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)
        self.x = x
        return out

    def backward(self, grad_out: Array) -> Array:
        options: dict[str, Any] = {"stride": self.stride, "padding": self.padding}
        return ops.avg_pool2d_backward(grad_out, self._seen(), self.kernel_size, **options)


class Flatten(Layer):
    """All numbers of an image in one row (`torch.nn.Flatten`): (N, C, H, W) to (N, C*H*W)."""

    def forward(self, x: Array) -> Array:
        if np.ndim(x) < 2:
            raise ValueError(f"Flatten wants x of shape (N, …) with at least 2 axes, got {np.shape(x)}")
        self.x = x
        return x.reshape(len(x), -1)  # (N, C*H*W)

    def backward(self, grad_out: Array) -> Array:
        x = self._seen()
        wanted = (len(x), prod(x.shape[1:]))
        if np.shape(grad_out) != wanted:
            raise ValueError(f"grad_out must have shape {wanted}, got {np.shape(grad_out)}")
        return grad_out.reshape(x.shape)  # (N, C, H, W)


class Sequential(Layer):
    """Layers one after the other (`torch.nn.Sequential`); backward goes through them in reverse.

    Parameters
    ----------
    *layers : Layer
        At least one.

    Raises
    ------
    TypeError, ValueError
        If one of them is no `Layer`, or there is none.
    """

    def __init__(self, *layers: Layer):
        if not layers:
            raise ValueError("Sequential needs at least one layer, got none")
        for place, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {place} must be a Layer, got {layer!r}")
        self.layers = layers

    def forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad_out: Array) -> Array:
        for layer in reversed(self.layers):
            grad_out = layer.backward(grad_out)
        return grad_out

    def parameters(self) -> list[Parameter]:
        return [parameter for layer in self.layers for parameter in layer.parameters()]


# --- loss, optimizer, prediction -----------------------------------------------------------------------


class CrossEntropyLoss:
    """Softmax and cross entropy, averaged over the mini-batch (`torch.nn.CrossEntropyLoss`).

    ``loss(scores, target)`` gives a number, ``loss.backward()`` then the gradient with respect to the scores.
    """

    given: tuple[Array, Array] | None = None  # what the last forward was given

    def __call__(self, scores: Array, target: Array) -> float:
        return self.forward(scores, target)

    def forward(self, scores: Array, target: Array) -> float:
        """The loss of scores (N, K), before softmax, and the right classes (N,).

        Raises
        ------
        TypeError, ValueError
            As `ops.cross_entropy`.
        """
        loss = float(ops.cross_entropy(scores, target))
        self.given = scores, target
        return loss

    def backward(self) -> Array:
        """``(softmax - one-hot) / N``, (N, K).

        Raises
        ------
        RuntimeError
            If nothing has gone forward yet.
        """
        if self.given is None:
            raise RuntimeError("CrossEntropyLoss.backward came before forward: call forward first")
        return ops.cross_entropy_backward(*self.given)


class SGD:
    """Stochastic gradient descent with momentum and weight decay (`torch.optim.SGD`).

    Each `step`: ``v = momentum * v + (grad + weight_decay * data)``, then ``data = data - lr * v``.

    Parameters
    ----------
    parameters : iterable of Parameter
        What to move; at least one.
    lr : float
        The learning rate, at least 0. It may be changed between steps: ``optimizer.lr = …``.
    momentum : float
        At least 0 and below 1; 0 is plain gradient descent.
    weight_decay : float
        At least 0: how strongly every number is drawn towards 0.

    Raises
    ------
    ValueError
        If there is no parameter, or one of the numbers is out of range.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("SGD needs at least one parameter, got none")
        if not lr >= 0:
            raise ValueError(f"lr must be at least 0, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocities = [np.zeros_like(p.data) for p in self.parameters]

    def step(self) -> None:
        """Move every parameter once, against its gradient."""
        for p, v in zip(self.parameters, self.velocities, strict=True):
            v *= self.momentum
            v += p.grad + self.weight_decay * p.data
            p.data -= self.lr * v


def predict(model: Layer, x: Array, *, batch_size: int = 256) -> Array:
    """What a network makes of many images, a batch at a time, so that memory suffices for any number.

    Parameters
    ----------
    model : Layer
    x : array, (N, C, H, W)
        N >= 1.
    batch_size : int
        Images that go through together; the last batch has what is left.

    Returns
    -------
    array, (N, K)
        The scores before softmax. ``.argmax(axis=1)`` gives the predicted classes.

    Raises
    ------
    TypeError, ValueError
        If `batch_size` is no positive integer, or there is no image.
    """
    step = single(batch_size, "batch_size")
    if len(x) == 0:
        raise ValueError(f"x must hold at least one image, got shape {np.shape(x)}")
    return np.concatenate([model.forward(x[start : start + step]) for start in range(0, len(x), step)])
