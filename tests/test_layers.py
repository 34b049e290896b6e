"""The layers of `cnnlab.layers`, with torch as the judge of their outputs, gradients and steps."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from cnnlab import layers
from cnnlab.gradcheck import check_gradients
from cnnlab.layers import (
    SGD,
    AvgPool2d,
    Conv2d,
    CrossEntropyLoss,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    Sequential,
    he,
    predict,
)


def generator(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, dtype=np.float32, seed=0):
    return generator([seed, *shape]).standard_normal(shape).astype(dtype)


def small_net(dtype=np.float32, seed=1):
    rng = generator(seed)
    return Sequential(
        Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), rng=rng, dtype=dtype),
        ReLU(),
        MaxPool2d((2, 3), stride=(1, 2)),
        Flatten(),
        Linear(3 * 3 * 2, 5, rng=rng, dtype=dtype),
    )


def torch_net():
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.MaxPool2d((2, 3), stride=(1, 2)),
        nn.Flatten(),
        nn.Linear(3 * 3 * 2, 5),
    )


# name: (our layer, torch's layer, shape of x)
PAIRS = {
    "conv": (
        lambda: Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0), rng=generator()),
        lambda: nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)),
        (2, 3, 8, 7),
    ),
    "conv of the default stride": (
        lambda: Conv2d(1, 4, 3, rng=generator()),
        lambda: nn.Conv2d(1, 4, 3),
        (3, 1, 6, 5),
    ),
    "linear": (lambda: Linear(7, 3, rng=generator()), lambda: nn.Linear(7, 3), (4, 7)),
    "relu": (ReLU, nn.ReLU, (2, 3, 4, 5)),
    "max pooling": (lambda: MaxPool2d(2), lambda: nn.MaxPool2d(2), (2, 3, 7, 6)),
    "max pooling that overlaps": (
        lambda: MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
        lambda: nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
        (2, 3, 8, 5),
    ),
    "average pooling": (
        lambda: AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
        lambda: nn.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
        (2, 3, 8, 5),
    ),
    "flatten": (Flatten, nn.Flatten, (2, 3, 4, 5)),
    "sequential": (small_net, torch_net, (2, 2, 7, 6)),
}
each_pair = pytest.mark.parametrize(("ours", "theirs", "shape"), PAIRS.values(), ids=PAIRS)


def same_weights(ours: Layer, theirs: nn.Module) -> None:
    """Put our parameters into torch's module."""
    with torch.no_grad():
        for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
            yours.copy_(torch.from_numpy(mine.data))


@each_pair
def test_forward_and_backward_are_those_of_torch(ours, theirs, shape):
    layer, module = ours(), theirs()
    same_weights(layer, module)
    x = normal(*shape)
    x_torch = torch.from_numpy(x.copy()).requires_grad_()
    out, wanted = layer(x), module(x_torch)
    assert out.dtype == np.float32
    assert_allclose(out, wanted.detach().numpy(), atol=1e-5)
    grad_out = normal(*out.shape, seed=1)
    wanted.backward(torch.from_numpy(grad_out))
    grad_x = layer.backward(grad_out)
    assert (grad_x.dtype, grad_x.shape) == (np.float32, shape)
    assert_allclose(grad_x, x_torch.grad.numpy(), atol=1e-5)
    for mine, yours in zip(layer.parameters(), module.parameters(), strict=True):
        assert mine.grad.dtype == np.float32
        assert_allclose(mine.grad, yours.grad.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Conv2d(2, 3, (2, 3), stride=(1, 2), padding=1, rng=generator(), dtype=float), (2, 2, 5, 4)),
        (lambda: Linear(4, 3, rng=generator(), dtype=float), (2, 4)),
        (ReLU, (3, 4)),
        (lambda: MaxPool2d((2, 3)), (2, 2, 5, 7)),
        (lambda: AvgPool2d((2, 3), stride=1), (2, 2, 4, 5)),
        (Flatten, (2, 3, 2, 2)),
        (lambda: small_net(dtype=float), (2, 2, 7, 6)),
    ],
    ids=["conv", "linear", "relu", "max", "avg", "flatten", "sequential"],
)
def test_gradients_of_every_input_and_parameter_by_trying_out(make, shape):
    layer = make()
    starts = [p.data.copy() for p in layer.parameters()]

    def forward(x, *values):
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.data = value
        return layer(x)

    def backward(grad_out, x, *values):
        forward(x, *values)
        return (layer.backward(grad_out), *(p.grad for p in layer.parameters()))

    assert check_gradients(forward, backward, normal(*shape, dtype=float), *starts) < 1e-6


def test_linear_by_hand():
    layer = Linear(2, 3, rng=generator())
    layer.weight.data[:] = [[1, 2], [0, -1], [3, 1]]
    layer.bias.data[:] = [0, 1, 2]
    assert_array_equal(layer(np.array([[2, 1], [0, 3]], np.float32)), [[4, 0, 9], [6, -2, 5]])
    grad_x = layer.backward(np.array([[1, 0, -1], [0, 2, 0]], np.float32))
    assert_array_equal(grad_x, [[-2, 1], [0, -2]])
    assert_array_equal(layer.weight.grad, [[2, 1], [0, 6], [-2, -1]])
    assert_array_equal(layer.bias.grad, [1, 2, -1])


def test_backward_replaces_gradients():
    layer, x, grad_out = Linear(4, 3, rng=generator()), normal(2, 4), normal(2, 3)
    assert not layer.weight.grad.any()
    layer(x)
    layer.backward(grad_out)
    once = layer.weight.grad.copy()
    layer.backward(grad_out)
    assert_array_equal(layer.weight.grad, once)


@each_pair
def test_nothing_given_is_changed(ours, theirs, shape):
    layer, x = ours(), normal(*shape)
    before = x.copy()
    out = layer(x)
    assert_array_equal(x, before)
    grad_out = normal(*out.shape)
    given = grad_out.copy()
    layer.backward(grad_out)
    assert_array_equal(grad_out, given)


# --- initialisation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "fan_in"), [((500, 8, 3, 5), 120), ((400, 300), 300)])
def test_he_has_the_deviation_of_its_fan_in(shape, fan_in):
    weight = he(shape, generator())
    assert (weight.shape, weight.dtype) == (shape, np.float32)
    assert abs(weight.mean()) < 0.01 * (2 / fan_in) ** 0.5
    assert weight.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)


def test_the_generator_decides():
    first, second, third = (Conv2d(2, 3, 4, rng=generator(seed)) for seed in (0, 0, 1))
    assert_array_equal(first.weight.data, second.weight.data)
    assert not np.array_equal(first.weight.data, third.weight.data)
    assert not first.bias.data.any()


def test_parameters_are_float32_unless_said_otherwise():
    assert {p.data.dtype for p in small_net().parameters()} == {np.dtype("float32")}
    assert {p.data.dtype for p in small_net(dtype=np.float64).parameters()} == {np.dtype("float64")}
    assert [p.data.shape for p in small_net().parameters()] == [(3, 2, 3, 2), (3,), (5, 18), (5,)]
    assert repr(small_net().parameters()[0]) == "Parameter(3, 2, 3, 2)"


# --- loss and optimizer --------------------------------------------------------------------------------


def test_loss_and_its_gradient_are_those_of_torch():
    scores, target = 5 * normal(4, 3), np.array([2, 0, 1, 1])
    loss = CrossEntropyLoss()
    got = loss(scores, target)
    assert isinstance(got, float)
    scores_torch = torch.from_numpy(scores.copy()).requires_grad_()
    wanted = nn.CrossEntropyLoss()(scores_torch, torch.from_numpy(target))
    wanted.backward()
    assert got == pytest.approx(wanted.item(), rel=1e-5)
    assert loss.backward().dtype == np.float32
    assert_allclose(loss.backward(), scores_torch.grad.numpy(), atol=1e-6)


def test_loss_of_large_scores_is_finite():
    loss = CrossEntropyLoss()
    assert loss(np.array([[1000.0, 0, -1000]]), np.array([1])) == 1000
    assert_array_equal(loss.backward(), [[1, -1, 0]])


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.8, 0.05)])
def test_several_steps_are_those_of_torch(momentum, decay):
    net, module = small_net(), torch_net()
    same_weights(net, module)
    loss, optimizer = CrossEntropyLoss(), SGD(net.parameters(), lr=0.1, momentum=momentum, weight_decay=decay)
    judge = torch.optim.SGD(module.parameters(), lr=0.1, momentum=momentum, weight_decay=decay)
    for step in range(6):
        x, target = normal(3, 2, 7, 6, seed=step), np.array([step % 5, 1, 4])
        optimizer.lr = judge.param_groups[0]["lr"] = 0.1 / (step + 1)
        got = loss(net(x), target)
        net.backward(loss.backward())
        optimizer.step()
        wanted = nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(target))
        judge.zero_grad()
        wanted.backward()
        judge.step()
        assert got == pytest.approx(wanted.item(), rel=1e-4)
    for mine, yours in zip(net.parameters(), module.parameters(), strict=True):
        assert_allclose(mine.data, yours.detach().numpy(), atol=1e-5)


def test_momentum_by_hand():
    w = Parameter(np.array([1.0, -2.0]))
    optimizer = SGD([w], lr=0.1, momentum=0.9)
    w.grad = np.array([4.0, -1.0])
    optimizer.step()  # v = (4, -1)
    assert_allclose(w.data, [0.6, -1.9])
    w.grad = np.array([2.0, 0.0])
    optimizer.step()  # v = (5.6, -0.9)
    assert_allclose(w.data, [0.04, -1.81])


def test_a_small_net_learns_a_few_images_by_heart():
    net, x, target = small_net(), normal(6, 2, 7, 6), np.array([0, 1, 2, 3, 4, 0])
    loss, optimizer = CrossEntropyLoss(), SGD(net.parameters(), lr=0.05, momentum=0.9)
    first = loss(net(x), target)
    for _ in range(200):
        loss(net(x), target)
        net.backward(loss.backward())
        optimizer.step()
    assert loss(net(x), target) < 0.01 < 1 < first
    assert_array_equal(predict(net, x).argmax(axis=1), target)


def test_predict_gives_what_forward_gives():
    net, x = small_net(), normal(7, 2, 7, 6)
    assert_allclose(predict(net, x, batch_size=3), net(x), atol=1e-6)
    assert predict(net, x[:1]).shape == (1, 5)


# --- errors --------------------------------------------------------------------------------------------

X = normal(2, 2, 7, 6)
ERRORS = {
    "backward first": (
        lambda: ReLU().backward(X),
        RuntimeError,
        "ReLU.backward came before forward: call forward first",
    ),
    "backward first in a net": (
        lambda: small_net().backward(normal(2, 5)),
        RuntimeError,
        "Linear.backward came before forward",
    ),
    "loss backward first": (
        CrossEntropyLoss().backward,
        RuntimeError,
        "CrossEntropyLoss.backward came before forward",
    ),
    "no channels": (lambda: Conv2d(0, 3, 3, rng=generator()), ValueError, "in_channels must be at least 1"),
    "half a filter": (lambda: Conv2d(1, 3, 2.5, rng=generator()), TypeError, "kernel_size must be an int"),
    "no features": (
        lambda: Linear(4, 0, rng=generator()),
        ValueError,
        "out_features must be at least 1, got 0",
    ),
    "other channels": (
        lambda: small_net()(normal(2, 3, 7, 6)),
        ValueError,
        "weight must see 3 channels (x has 3, groups=1), got 2",
    ),
    "integer images": (lambda: small_net()(X.astype(np.uint8)), TypeError, "weight has dtype float32"),
    "images for Linear": (
        lambda: Linear(84, 5, rng=generator())(X),
        ValueError,
        "Linear wants x of shape (N, 84), got (2, 2, 7, 6)",
    ),
    "other image size": (
        lambda: small_net()(normal(2, 2, 9, 6)),
        ValueError,
        "Linear wants x of shape (N, 18), got (2, 24)",
    ),
    "Flatten of one axis": (lambda: Flatten()(np.zeros(3)), ValueError, "at least 2 axes, got (3,)"),
    "no layers": (lambda: Sequential(), ValueError, "Sequential needs at least one layer, got none"),
    "a class instead of a layer": (
        lambda: Sequential(Flatten(), ReLU),
        TypeError,
        "layer 1 must be a Layer, got <class",
    ),
    "no parameters": (lambda: SGD([], lr=0.1), ValueError, "SGD needs at least one parameter, got none"),
    "uphill": (
        lambda: SGD(small_net().parameters(), lr=-0.1),
        ValueError,
        "lr must be at least 0, got -0.1",
    ),
    "endless momentum": (
        lambda: SGD(small_net().parameters(), lr=0.1, momentum=1),
        ValueError,
        "momentum must be at least 0 and below 1, got 1",
    ),
    "growing weights": (
        lambda: SGD(small_net().parameters(), lr=0.1, weight_decay=-1),
        ValueError,
        "weight_decay must be at least 0, got -1",
    ),
    "no images": (lambda: predict(small_net(), X[:0]), ValueError, "x must hold at least one image"),
    "no batch": (lambda: predict(small_net(), X, batch_size=0), ValueError, "batch_size must be at least 1"),
    "no forward": (lambda: Layer()(X), NotImplementedError, "Layer has no forward"),
    "no backward": (lambda: Layer().backward(X), NotImplementedError, "Layer has no backward"),
}


@pytest.mark.parametrize(("run", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_say_what_came_and_what_was_wanted(run, error, message):
    with pytest.raises(error) as caught:
        run()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Conv2d(2, 3, 2, rng=generator()), (2, 3, 6, 6)),
        (lambda: MaxPool2d(2), (2, 2, 3, 2)),
        (lambda: AvgPool2d(2), (2, 2, 3, 2)),
        (ReLU, (2, 2, 7, 5)),
        (Flatten, (2, 83)),
    ],
    ids=["conv", "max", "avg", "relu", "flatten"],
)
def test_a_gradient_of_another_shape_is_refused(make, shape):
    layer = make()
    layer(X)
    with pytest.raises(ValueError, match="grad_out must have shape"):
        layer.backward(normal(*shape))


def test_a_forward_that_fails_is_not_remembered():
    layer = Linear(3, 2, rng=generator())
    with pytest.raises(ValueError, match="Linear wants"):
        layer(normal(2, 4))
    with pytest.raises(RuntimeError, match="before forward"):
        layer.backward(normal(2, 2))


def test_all_lists_what_is_public():
    assert sorted(layers.__all__) == sorted(
        name
        for name, thing in vars(layers).items()
        if getattr(thing, "__module__", None) == layers.__name__ and not name.startswith("_")
    )
