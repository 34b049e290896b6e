"""Every check of chapter 12: solutions pass, stubs are not answered, typical mistakes get their own hint."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from reports import failed

from cnnlab.exercises import visualization
from cnnlab.exercises.visualization import GRADIENTS, MAPS

pytestmark = pytest.mark.usefixtures("language")


def scores_of(model, x, labels):
    return model(x)[torch.arange(len(labels)), labels]


def gradient(model, x, labels, of=scores_of):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(of(model, x, labels).sum(), x)[0]  # (N, C, H, W)


def saliency(model, x, labels):
    return gradient(model, x, labels).abs().amax(1)


def saliency_one_by_one(model, x, labels):
    maps = []
    for image, label in zip(x, labels, strict=True):
        image = image[None].requires_grad_()
        model(image)[0, label].backward()
        maps.append(image.grad[0].abs().max(dim=0).values)
    return torch.stack(maps).numpy()


def loss(model, x, labels):
    return F.cross_entropy(model(x), labels)


def probability(model, x, labels):
    return F.softmax(model(x), 1)[torch.arange(len(labels)), labels]


def of_one_class(scores, label):
    return F.softmax(scores, 1)[0, label].item()


def occlusion(model, x, label, size, stride, value, *, of=of_one_class, restore=True, channels=None):
    H, W = x.shape[2:]
    rows = []
    for i in range(0, H - size + 1, stride):
        rows.append([])
        for j in range(0, W - size + 1, stride):
            covered = x.clone() if restore else x
            covered[:, :channels, i : i + size, j : j + size] = value
            with torch.no_grad():
                rows[-1].append(of(model(covered), label))
    return torch.tensor(rows)


def occlusion_in_one_batch(model, x, label, size, stride, value):
    H, W = x.shape[2:]
    corners = [(i, j) for i in range(0, H - size + 1, stride) for j in range(0, W - size + 1, stride)]
    batch = x.repeat(len(corners), 1, 1, 1)
    for covered, (i, j) in zip(batch, corners, strict=True):
        covered[:, i : i + size, j : j + size] = value
    with torch.no_grad():
        p = model(batch).softmax(1)[:, label]
    return p.reshape(len(range(0, H - size + 1, stride)), -1).numpy()


def stub(*args): ...


def raise_todo(*args):
    raise NotImplementedError


ALPHA, HEAT = [2, -1], [[4, 0], [0, 5]]
CHECKS = {
    "receptive_field": visualization.check_receptive_field,
    "grad_cam_by_hand": lambda answers: visualization.check_grad_cam_by_hand(*answers),
    "saliency": visualization.check_saliency,
    "occlusion": visualization.check_occlusion,
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("receptive_field", 20),
        ("grad_cam_by_hand", (ALPHA, HEAT)),
        ("grad_cam_by_hand", (torch.tensor(ALPHA), torch.tensor(HEAT).float())),
        ("saliency", saliency),
        ("saliency", saliency_one_by_one),
        ("occlusion", occlusion),
        ("occlusion", occlusion_in_one_batch),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("receptive_field", ...),
        ("grad_cam_by_hand", (..., ...)),
        ("grad_cam_by_hand", (ALPHA, [[..., ...], [..., ...]])),
        *[(name, answer) for name in ("saliency", "occlusion") for answer in (stub, raise_todo, ..., None)],
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


def changed(**options):
    return lambda *args: occlusion(*args, **options)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("receptive_field", 11, "no_step"),
        ("receptive_field", 17, "no_pooling"),
        ("receptive_field", 23, "step_too_early"),
        ("receptive_field", 180, "product"),
        ("receptive_field", 400, "area"),
        ("receptive_field", 28, "value"),
        ("grad_cam_by_hand", (GRADIENTS.sum((1, 2)), HEAT), "sum"),
        ("grad_cam_by_hand", (MAPS.mean((1, 2)), HEAT), "mean_of_maps"),
        ("grad_cam_by_hand", ([2, 1], HEAT), "no_sign"),
        ("grad_cam_by_hand", ((MAPS * GRADIENTS).mean((1, 2)), HEAT), "mean_of_products"),
        ("grad_cam_by_hand", (ALPHA, [[4, -4], [0, 5]]), "no_relu"),
        ("grad_cam_by_hand", (ALPHA, [[4, 0], [2, 6]]), "relu_too_early"),
        ("grad_cam_by_hand", (ALPHA, [[2, 0], [2, 3]]), "position_by_position"),
        ("grad_cam_by_hand", (ALPHA, [[2, 0], [0, 2.5]]), "divided"),
        ("grad_cam_by_hand", (ALPHA, [4, 0, 0, 5]), "shape"),
        ("saliency", lambda *args: gradient(*args).abs(), "channels_left"),
        ("saliency", lambda *args: gradient(*args).amax(1), "no_absolute"),
        ("saliency", lambda *args: gradient(*args).abs().sum(1), "sum_of_channels"),
        ("saliency", lambda *args: gradient(*args).abs().mean(1), "sum_of_channels"),
        ("saliency", lambda *args: gradient(*args).sum(1).abs(), "sum_of_channels"),
        ("saliency", lambda *args: gradient(*args)[:, 0].abs(), "first_channel"),
        ("saliency", lambda *args: gradient(*args, of=loss).abs().amax(1), "loss"),
        ("saliency", lambda *args: gradient(*args, of=probability).abs().amax(1), "probability"),
        ("saliency", lambda *args: gradient(*args, of=lambda m, x, k: m(x)).abs().amax(1), "every_class"),
        (
            "saliency",
            lambda *args: gradient(*args, of=lambda m, x, k: m(x).amax(1)).abs().amax(1),
            "predicted_class",
        ),
        ("saliency", lambda *args: saliency(*args)[0], "shape"),
        ("saliency", 3, "not_callable"),
        ("occlusion", lambda *args: occlusion(*args).T, "rows_and_columns"),
        ("occlusion", changed(of=lambda scores, label: scores[0, label].item()), "score"),
        (
            "occlusion",
            lambda model, x, label, *rest: of_one_class(model(x), label) - occlusion(model, x, label, *rest),
            "difference",
        ),
        ("occlusion", changed(restore=False), "not_restored"),
        ("occlusion", lambda *args: occlusion(*args[:-1], 0.0), "zero"),
        ("occlusion", changed(channels=1), "first_channel"),
        ("occlusion", changed(of=lambda scores, label: F.softmax(scores, 1).max().item()), "best_class"),
        (
            "occlusion",
            lambda model, x, label, size, stride, value: occlusion(model, x, label, size, 1, value),
            "no_stride",
        ),
        ("occlusion", lambda *args: args[1].no_such_thing, "raised"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    failed(CHECKS[name](answer), hint)


def test_a_check_leaves_no_gradient_on_the_model_and_repeats_itself():
    reports = [visualization.check_saliency(saliency_one_by_one) for _ in range(2)]
    assert [report.status for report in reports] == ["passed", "passed"]
