"""Every check of chapter 09: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab.exercises import pytorch_nn

pytestmark = pytest.mark.usefixtures("language")


class ChannelScale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x):
        return self.scale * x + self.shift


class Flat(nn.Module):
    """Parameters of shape (C,), shift first, registered by name."""

    def __init__(self, channels):
        super().__init__()
        self.register_parameter("shift", nn.Parameter(torch.zeros(channels)))
        self.register_parameter("scale", nn.Parameter(torch.ones(channels)))

    def forward(self, x):
        return x * self.scale[:, None, None] + self.shift[:, None, None]


class Stub(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return ...


class NoSuper(nn.Module):
    def __init__(self, channels):
        self.scale = torch.ones(channels, 1, 1)


class Plain(ChannelScale):
    def __init__(self, channels):
        nn.Module.__init__(self)
        self.scale = torch.ones(channels, 1, 1, requires_grad=True)
        self.shift = torch.zeros(channels, 1, 1, requires_grad=True)


class OnePlain(ChannelScale):
    def __init__(self, channels):
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = torch.zeros(channels, 1, 1)


class Single(ChannelScale):
    def __init__(self, channels):
        nn.Module.__init__(self)
        self.scale, self.shift = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))


class Zeros(ChannelScale):
    def __init__(self, channels):
        super().__init__(channels)
        nn.init.zeros_(self.scale)


class HiddenStart(ChannelScale):
    """The identity, made of other numbers than 1 and 0."""

    def __init__(self, channels):
        super().__init__(channels)
        nn.init.zeros_(self.scale)

    def forward(self, x):
        return (self.scale + 1) * x + self.shift


class Unused(ChannelScale):
    def forward(self, x):
        return x


class WrongAxis(Flat):
    def forward(self, x):
        return x * self.scale + self.shift


class ShiftFirst(ChannelScale):
    def forward(self, x):
        return self.scale * (x + self.shift)


class NoShift(ChannelScale):
    def forward(self, x):
        return self.scale * x


class NoScale(ChannelScale):
    def forward(self, x):
        return x + self.shift


class Detached(ChannelScale):
    def forward(self, x):
        return self.scale * x + self.shift.detach()


def training_step(net, images, labels, lr, weight_decay):
    loss = F.cross_entropy(net(images), labels)
    net.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= lr * (p.grad + weight_decay * p)
    return loss.item()


def with_data(net, images, labels, lr, weight_decay):
    """The old way, and with the gradient taken without ``grad``."""
    parameters = list(net.parameters())
    loss = F.cross_entropy(net(images), labels)
    for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.data.mul_(1 - lr * weight_decay).sub_(lr * g)
    return loss.item()


def mistaken(change, *, clear=True, returned=torch.Tensor.item):
    def training_step(net, images, labels, lr, weight_decay):
        loss = F.cross_entropy(net(images), labels)
        if clear:
            net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= change(p, p.grad, lr, weight_decay)
        return returned(loss)

    return training_step


def new_tensors(net, images, labels, lr, weight_decay):
    loss = F.cross_entropy(net(images), labels)
    net.zero_grad()
    loss.backward()
    for p in net.parameters():
        p = p - lr * p.grad
    return loss.item()


def without_no_grad(net, images, labels, lr, weight_decay):
    loss = F.cross_entropy(net(images), labels)
    loss.backward()
    for p in net.parameters():
        p -= lr * p.grad
    return loss.item()


def right(w, g, lr, decay):
    return lr * (g + decay * w)


CHECKS = {
    "gradient": lambda answers: pytorch_nn.check_gradient(*answers),
    "scale": pytorch_nn.check_channel_scale,
    "step": pytorch_nn.check_training_step,
    "kernels": lambda answers: pytorch_nn.check_small_kernels(*answers),
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gradient", (-10, 1.2)),
        ("gradient", (torch.tensor(-10.0), 1 + 0.02 * 10)),
        ("scale", ChannelScale),
        ("scale", Flat),
        ("step", training_step),
        ("step", with_data),
        ("kernels", (576, 81_194)),
        ("kernels", (16 * 6 * 6, torch.tensor(81_194))),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gradient", (..., ...)),
        ("gradient", (-10, ...)),
        ("scale", Stub),
        ("scale", None),
        ("step", lambda net, images, labels, lr, weight_decay: ...),
        ("step", lambda net, images, labels, lr, weight_decay: None),
        ("kernels", (..., ...)),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("gradient", (-12, 1.2), "one_path"),
        ("gradient", (2, 1.2), "other_path"),
        ("gradient", (-2, 1.2), "inner"),
        ("gradient", (-6, 1.2), "inner_only"),
        ("gradient", (10, 1.2), "sign"),
        ("gradient", (5, 1.2), "loss"),
        ("gradient", (7, 1.2), "value"),
        ("gradient", (-10, 0.8), "uphill"),
        ("gradient", (-10, 11), "no_rate"),
        ("gradient", (-10, 0.2), "change_only"),
        ("gradient", (-10, 3), "value"),
        ("scale", lambda channels: lambda x: x, "not_a_module"),
        ("scale", NoSuper, "no_super"),
        ("scale", Plain, "not_registered"),
        ("scale", OnePlain, "one_registered"),
        ("scale", Single, "count"),
        ("scale", Zeros, "zeros"),
        ("scale", HiddenStart, "start"),
        ("scale", Unused, "parameters_unused"),
        ("scale", WrongAxis, "wrong_axis"),
        ("scale", ShiftFirst, "shift_first"),
        ("scale", NoShift, "no_shift"),
        ("scale", NoScale, "no_scale"),
        ("scale", Detached, "no_gradient"),
        ("scale", 3, "not_callable"),
        ("step", mistaken(right, returned=lambda loss: loss), "not_a_float"),
        ("step", new_tensors, "unchanged"),
        ("step", mistaken(right, clear=False), "gradients_added"),
        ("step", mistaken(lambda w, g, lr, decay: lr * g), "no_decay"),
        ("step", mistaken(lambda w, g, lr, decay: -lr * (g + decay * w)), "uphill"),
        ("step", mistaken(lambda w, g, lr, decay: lr * (g - decay * w)), "decay_away"),
        ("step", mistaken(lambda w, g, lr, decay: lr * g + decay * w), "decay_without_rate"),
        ("step", mistaken(lambda w, g, lr, decay: lr * (g + decay)), "decay_without_w"),
        ("step", mistaken(lambda w, g, lr, decay: g + decay * w), "no_rate"),
        ("step", mistaken(right, returned=lambda loss: 0.0), "loss"),
        ("step", mistaken(lambda w, g, lr, decay: 0.3 * w), "value"),
        ("step", without_no_grad, "raised"),
        ("kernels", (400, 81_194), "old_size"),
        ("kernels", (784, 81_194), "rounded_up"),
        ("kernels", (36, 81_194), "one_channel"),
        ("kernels", (96, 81_194), "one_side"),
        ("kernels", (1024, 81_194), "padded"),
        ("kernels", (216, 81_194), "first_channels"),
        ("kernels", (576, 81_194 - 6 - 16 - 120 - 84 - 10), "no_bias"),
        ("kernels", (576, 61_706), "old_count"),
        ("kernels", (576, 81_194 - 16 * 9 * 5), "one_input_channel"),
        ("kernels", (576, 81_194 - 120 * 176), "old_fc1"),
        ("kernels", (576, 7), "value"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    report = CHECKS[name](answer)
    assert (report.status, report.hint) == ("failed", hint), report
    assert str(report)
