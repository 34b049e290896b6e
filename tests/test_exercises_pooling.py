"""Every check of chapter 05: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cnnlab.exercises import pooling

pytestmark = pytest.mark.usefixtures("language")

LARGEST, AVERAGE = [[6, 7], [8, 9]], [[3, 4], [4, 4]]
DESIGN = [[4, 0, 3, 0], [1, 1, 0, 2], [0, 0, 1, 1], [2, 1, 0, 0]]
SIZES = (15, 24, 76_820, 2_580)


def pool(x, K, S, kind):
    N, C, H, W = x.shape
    out = np.empty((N, C, (H - K) // S + 1, (W - K) // S + 1))
    for m, n in np.ndindex(out.shape[2:]):
        window = x[:, :, m * S : m * S + K, n * S : n * S + K]
        out[:, :, m, n] = window.max(axis=(2, 3)) if kind == "max" else window.mean(axis=(2, 3))
    return out


def torch_pool(x, K, S, kind):
    function = F.max_pool2d if kind == "max" else F.avg_pool2d
    return function(torch.tensor(x), K, S)


def pool_stub(x, K, S, kind):
    return ...


def raise_todo(x, K, S, kind):
    raise NotImplementedError


def other_kind(x, K, S, kind):
    return pool(x, K, S, "avg" if kind == "max" else "max")


def from_zero(x, K, S, kind):
    return np.maximum(pool(x, K, S, kind), 0) if kind == "max" else pool(x, K, S, kind)


def summed(x, K, S, kind):
    return pool(x, K, S, kind) * (1 if kind == "max" else K * K)


def mixed_channels(x, K, S, kind):
    out = pool(x, K, S, kind)
    together = out.max(axis=1, keepdims=True) if kind == "max" else out.mean(axis=1, keepdims=True)
    return np.broadcast_to(together, out.shape)


def rounded_up(x, K, S, kind):
    x = torch.tensor(x)
    return F.max_pool2d(x, K, S, ceil_mode=True) if kind == "max" else F.avg_pool2d(x, K, S, ceil_mode=True)


CHECKS = {
    "by_hand": lambda answers: pooling.check_by_hand(*answers),
    "pool": pooling.check_pool,
    "sizes": lambda answers: pooling.check_sizes(*answers),
    "design": pooling.check_design,
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", (LARGEST, AVERAGE)),
        ("by_hand", (np.array(LARGEST, dtype=float), np.array(AVERAGE, dtype=float))),
        ("pool", pool),
        ("pool", torch_pool),
        ("sizes", SIZES),
        ("design", DESIGN),
        ("design", [[0, -5, -1, -4], [-9, -9, -9, -9], [3, -1, 2, 0], [0, 0, 0, 0]]),
        ("design", np.array([[4, 0, 3, 0], [0, 0, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]]) / 4),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", (..., ...)),
        ("by_hand", (LARGEST, ...)),
        ("by_hand", ([[6, ...], [..., ...]], AVERAGE)),
        ("pool", pool_stub),
        ("pool", raise_todo),
        ("pool", None),
        ("sizes", (..., ..., ..., ...)),
        ("sizes", (*SIZES[:3], ...)),
        ("design", ...),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("by_hand", (AVERAGE, LARGEST), "other_kind"),
        ("by_hand", (LARGEST, LARGEST), "other_kind"),
        ("by_hand", ([[6, 8], [7, 9]], AVERAGE), "transposed"),
        ("by_hand", ([[6, 6, 7], [8, 5, 7], [8, 9, 9]], AVERAGE), "stride_one"),
        ("by_hand", (LARGEST, [[12, 16], [16, 16]]), "sum"),
        ("by_hand", (LARGEST, [[3, 4], [4, 5]]), "value"),
        ("pool", other_kind, "other_kind"),
        ("pool", from_zero, "from_zero"),
        ("pool", summed, "sum"),
        ("pool", mixed_channels, "channels"),
        ("pool", lambda x, K, S, kind: pool(x, K, S, kind)[0, 0], "axes"),
        ("pool", lambda x, K, S, kind: pool(x, K, S, kind).max(axis=1), "axes"),
        ("pool", rounded_up, "rounded_up"),
        ("pool", lambda x, K, S, kind: pool(x, K, K, kind), "no_stride"),
        ("pool", lambda x, K, S, kind: pool(x, K, S, kind).swapaxes(2, 3), "shape"),
        ("pool", lambda x, K, S, kind: pool(x, K, S, kind) + 1, "value"),
        ("pool", lambda x, K, S, kind: x.no_such_thing, "raised"),
        ("pool", 3, "not_callable"),
        ("sizes", (16, *SIZES[1:]), "rounded_up"),
        ("sizes", (10, *SIZES[1:]), "no_stride"),
        ("sizes", (15, 25, *SIZES[2:]), "no_floor"),
        ("sizes", (15, 24.5, *SIZES[2:]), "no_floor"),
        ("sizes", (15, 24, 76_800, 2_580), "no_bias"),
        ("sizes", (15, 24, 76_801, 2_580), "one_bias"),
        ("sizes", (15, 24, 76_800 + 3_840, 2_580), "bias_per_input"),
        ("sizes", (15, 24, 2_580, 2_580), "not_flattened"),
        ("sizes", (15, 24, 76_820, 2_560), "no_bias"),
        ("sizes", (15, 24, 76_820, 2_561), "one_bias"),
        ("sizes", (15, 24, 76_820, 2_560 + 128), "bias_per_input"),
        ("sizes", (15, 24, 76_820, 76_820), "not_pooled"),
        ("sizes", (15, 24, 76_820, 620), "channels_pooled"),
        ("sizes", (15, 24, 76_820, 2_581), "value"),
        ("design", "abc", "not_numbers"),
        ("design", [[np.inf] * 4] * 4, "not_numbers"),
        ("design", [[1, 2], [3, 4]], "shape"),
        ("design", np.zeros((4, 4)), "not_different"),
        ("design", np.ones((4, 4)), "not_different"),
        ("design", np.arange(16).reshape(4, 4), "changed"),
        ("design", [[0, 4, 0, 3], [0, 1, 0, 2], [0, 2, 0, 1], [0, 0, 0, 0]], "left_instead"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    report = CHECKS[name](answer)
    assert (report.status, report.hint) == ("failed", hint), report
    assert str(report)
