"""Training: the loop against one written out by hand, exact resuming, interruptions, messages."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

import cnnlab.train
from cnnlab import i18n
from cnnlab.data import Batches, ImageData, as_torch_dataset, digits
from cnnlab.models import FastNet
from cnnlab.train import (
    History,
    TrainingDiverged,
    best_path,
    choose_device,
    evaluate,
    fit,
    load_checkpoint,
    one_cycle,
    set_seed,
)

pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Nets as small as these are not faster with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data():
    train, test = digits()
    return train[:200], test[:90]


def small_net(seed: int = 0) -> nn.Module:
    """A net with all that has a state: convolution, batch normalization, dropout."""
    set_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(256, 10),
    )


def run(model, data, **options):
    train, test = data
    options = {"epochs": 3, "batch_size": 32, "lr": 0.01, "device": "cpu", "progress": False} | options
    return fit(model, train, test, **options)


def same_weights(one: nn.Module, two: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


# The loop


def test_fit_does_what_the_loop_written_out_does(data):
    train, _ = data
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double()
    copy = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double()
    copy.load_state_dict(model.state_dict())
    loader = [(x.double(), y) for x, y in Batches(train, 64)]

    class Doubles(Batches):
        def __iter__(self):
            return iter(loader)

    history = fit(
        model, Doubles(train, 64), epochs=2, optimizer="momentum", lr=0.1, device="cpu", progress=False
    )

    optimizer = torch.optim.SGD(copy.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(2):
        for x, y in loader:
            loss = F.cross_entropy(copy(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert history.step_loss == pytest.approx(losses, rel=1e-9)
    for a, b in zip(model.parameters(), copy.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-9)
    sizes = [64, 64, 64, 8]
    assert history.train_loss[0] == pytest.approx(
        sum(n * loss for n, loss in zip(sizes, losses[:4], strict=True)) / 200
    )


def test_digits_are_learned():
    train, test = digits()
    set_seed(0)
    model = FastNet(8)
    history = fit(model, train, test, epochs=4, lr=0.02, schedule="one-cycle", device="cpu", progress=False)
    assert history.test_accuracy[-1] >= 0.93
    assert not model.training


def test_history_has_one_entry_per_epoch_and_per_step(data):
    history = run(small_net(), data)
    assert history.epoch == [1, 2, 3]
    for values in (history.train_loss, history.train_accuracy, history.test_loss, history.test_accuracy):
        assert len(values) == 3
    assert len(history.step_loss) == len(history.step_lr) == 3 * math.ceil(200 / 32)
    assert history.stopped == "finished" and min(history.seconds) > 0
    assert json.loads(json.dumps(history.to_dict())) == history.to_dict()
    assert History.from_dict(history.to_dict()) == history
    assert repr(history).startswith("History(epoch=3, train_loss=") and "test_accuracy=" in repr(history)


def test_without_test_data_there_are_no_test_results(data):
    history = run(small_net(), (data[0], None))
    assert history.test_accuracy == [] and len(history.train_accuracy) == 3


@pytest.mark.parametrize(
    ("epochs", "steps", "entries"), [(0.5, 4, [4 / 7]), (1.5, 10, [1, 10 / 7]), (0.001, 1, [1 / 7])]
)
def test_parts_of_an_epoch(data, epochs, steps, entries):
    history = run(small_net(), data, epochs=epochs)
    assert len(history.step_loss) == steps
    assert history.epoch == pytest.approx(entries)


def test_a_dataloader_trains_like_batches(data):
    train, test = data
    one, two = small_net(), small_net()
    one[4].p = two[4].p = 0.0  # a DataLoader draws a random number of its own, which moves the dropout
    loader = DataLoader(as_torch_dataset(train), batch_size=32)
    first = fit(
        one, loader, DataLoader(as_torch_dataset(test), batch_size=50), epochs=1, device="cpu", progress=False
    )
    second = fit(two, Batches(train, 32), test, epochs=1, device="cpu", progress=False)
    assert same_weights(one, two)
    assert first.test_accuracy == second.test_accuracy


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_optimizers_by_name_take_their_default_learning_rate(data, optimizer):
    history = run(small_net(), data, optimizer=optimizer, lr=None, epochs=2)
    assert history.step_lr[0] == cnnlab.train.OPTIMIZERS[optimizer][1]["lr"]
    assert history.train_loss[1] < history.train_loss[0]


def test_an_optimizer_may_be_made_before_or_by_a_function(data):
    one, two, three = small_net(), small_net(), small_net()
    run(one, data, optimizer="momentum", lr=0.02)
    made = torch.optim.SGD(two.parameters(), lr=0.02, momentum=0.9)
    run(two, data, optimizer=made, lr=None)
    run(three, data, optimizer=lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9), lr=None)
    for a, b, c in zip(one.parameters(), two.parameters(), three.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5) and torch.equal(b, c)


def test_one_cycle_rises_for_a_fifth_and_falls_to_zero(data):
    assert [one_cycle(done) for done in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    rates = run(small_net(), data, lr=0.05, schedule="one-cycle").step_lr
    assert max(rates) == pytest.approx(0.05, rel=0.2)
    assert rates.index(max(rates)) == 4 and rates[-1] < 0.003


def test_schedule_may_be_a_function_of_the_part_that_is_done(data):
    rates = run(small_net(), data, lr=0.08, schedule=lambda done: 1.0 if done < 0.5 else 0.1).step_lr
    assert sorted(set(rates)) == pytest.approx([0.008, 0.08])


def test_label_smoothing_and_shift_change_the_run(data):
    plain = run(small_net(), data).step_loss
    assert run(small_net(), data, label_smoothing=0.1).step_loss != plain
    assert run(small_net(), data, shift=1).step_loss != plain


# Random numbers


def test_the_same_seed_gives_the_same_run_whatever_happened_before(data):
    one, two, three = small_net(), small_net(), small_net()
    first = run(one, data)
    torch.rand(7)
    second = run(two, data)
    other = run(three, data, seed=1)
    assert first.step_loss == second.step_loss != other.step_loss
    assert same_weights(one, two)


def test_the_random_numbers_outside_go_on_as_if_nothing_had_been(data):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    model = small_net()
    set_seed(5)
    want = draw()
    set_seed(5)
    run(model, data, epochs=1)
    assert draw() == want


def test_set_seed_starts_all_three():
    set_seed(1)
    first = random.random(), np.random.rand(), torch.rand(1).item()
    set_seed(1)
    assert first == (random.random(), np.random.rand(), torch.rand(1).item())


# Evaluation


class Fixed(nn.Module):
    """Says for every image the class that its first pixel names."""

    def forward(self, x):
        return 5 * F.one_hot((x[:, 0, 0, 0] * 255).round().long(), 10).float()


def fixed_data(answers, labels):
    images = np.zeros((len(labels), 1, 28, 28), np.uint8)
    images[:, 0, 0, 0] = answers
    return ImageData("fixed", images, np.array(labels))


def test_accuracy_counts_every_sample_of_a_smaller_last_batch():
    data = fixed_data([0, 1, 2, 3, 4, 5, 7], [0, 1, 2, 3, 4, 5, 6])
    result = evaluate(Fixed(), data, batch_size=4)
    assert result.accuracy == 6 / 7
    right = -math.log(math.exp(5) / (math.exp(5) + 9))
    assert result.loss == pytest.approx((6 * right + right + 5) / 7, rel=1e-5)
    assert result.predictions.tolist() == [0, 1, 2, 3, 4, 5, 7] and result.labels.tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert result.probabilities.shape == (7, 10)
    assert repr(result) == f"Evaluation(loss={result.loss:.4f}, accuracy=0.8571, samples=7)"


def test_confusion_has_true_classes_as_rows():
    confusion = evaluate(Fixed(), fixed_data([1, 1, 2], [1, 2, 2])).confusion()
    assert confusion.shape == (10, 10) and confusion.sum() == 3
    assert confusion[1, 1] == 1 and confusion[2, 1] == 1 and confusion[2, 2] == 1


def test_mistakes_begin_with_the_most_confident():
    class Confident(nn.Module):
        def forward(self, x):
            confidence = x[:, 0, 0, 0] * 255
            return torch.stack(
                [confidence, torch.zeros_like(confidence)], dim=1
            )  # says 0, more or less surely

    result = evaluate(Confident(), fixed_data([1, 9, 5, 3], [1, 0, 1, 1]))
    assert result.mistakes().tolist() == [2, 3, 0]


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_every_mode_as_it_was(data, training):
    model = small_net().train(training)
    model[1].eval()
    evaluate(model, data[1])
    assert model.training is training and model[4].training is training and not model[1].training


def test_evaluate_uses_the_evaluation_mode(data):
    model = small_net()
    assert np.array_equal(evaluate(model, data[1]).probabilities, evaluate(model, data[1]).probabilities)


# Checkpoints


@pytest.mark.parametrize("schedule", [None, "one-cycle"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
def test_resuming_continues_exactly(data, tmp_path, optimizer, schedule):
    options = {"optimizer": optimizer, "schedule": schedule, "shift": 1, "epochs": 4}
    whole = small_net()
    want = run(whole, data, **options)

    model = small_net()
    interrupt(run, model, data, after=10, checkpoint=tmp_path / "run.pt", **options)
    other = small_net(seed=9)
    got = run(other, data, checkpoint=tmp_path / "run.pt", **options)
    assert same_weights(other, whole)
    assert got.step_loss == want.step_loss and got.step_lr == want.step_lr
    assert got.test_loss == want.test_loss and got.stopped == "finished"


@pytest.mark.parametrize("own_generator", [True, False])
def test_resuming_a_dataloader_continues_exactly(data, tmp_path, own_generator):
    def loader():
        generator = torch.Generator().manual_seed(77) if own_generator else None
        return DataLoader(as_torch_dataset(data[0]), batch_size=32, shuffle=True, generator=generator)

    whole, model = small_net(), small_net()
    want = run(whole, (loader(), None), epochs=3)
    interrupt(run, model, (loader(), None), after=15, epochs=3, checkpoint=tmp_path / "run.pt")
    got = run(model, (loader(), None), epochs=3, checkpoint=tmp_path / "run.pt")
    assert same_weights(model, whole) and got.step_loss == want.step_loss


def interrupt(function, model, *args, after, **options):
    """Call `function` and press Ctrl-C during the forward pass number `after` in training mode."""
    count = 0

    def press(module, inputs):
        nonlocal count
        count += module.training
        if count == after:
            raise KeyboardInterrupt

    handle = model.register_forward_pre_hook(press)
    try:
        return function(model, *args, **options)
    finally:
        handle.remove()


def test_interrupting_returns_the_history_of_the_whole_epochs(data, tmp_path, capsys):
    model = small_net()
    history = interrupt(run, model, data, after=17, checkpoint=tmp_path / "run.pt")
    assert history.stopped == "interrupted"
    assert history.epoch == [1, 2] and len(history.step_loss) == 14 and len(history.test_accuracy) == 2
    assert not model.training
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "2 epochs finished" in out and "run.pt" in out
    kept = load_checkpoint(tmp_path / "run.pt", small_net(1))
    assert kept.step_loss == history.step_loss


def test_interrupting_the_first_epoch_leaves_the_start_as_checkpoint(data, tmp_path):
    model = small_net()
    interrupt(run, model, data, after=3, checkpoint=tmp_path / "run.pt")
    other = small_net(3)
    assert load_checkpoint(tmp_path / "run.pt", other).epoch == []
    assert same_weights(other, small_net())


def test_interrupting_without_checkpoint_says_so_in_the_readers_language(data, capsys):
    for lang, word in [("ja", "中断しました（0エポック終了）"), ("ko", "중단했습니다(0에폭 완료)")]:
        i18n.set_language(lang)
        interrupt(run, small_net(), data, after=3)
        assert word in capsys.readouterr().out


def test_a_finished_run_is_only_read(data, tmp_path):
    first = run(small_net(), data, checkpoint=tmp_path / "run.pt")
    model = small_net(8)
    assert run(model, data, checkpoint=tmp_path / "run.pt") == first


def test_a_run_without_schedule_can_be_made_longer(data, tmp_path):
    whole, model = small_net(), small_net()
    want = run(whole, data, epochs=3)
    run(model, data, epochs=2, checkpoint=tmp_path / "run.pt")
    got = run(model, data, epochs=3, checkpoint=tmp_path / "run.pt")
    assert same_weights(whole, model) and got.step_loss == want.step_loss


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"lr": 0.02}, "lr: [0.01] -> [0.02]"),
        ({"optimizer": "momentum"}, "optimizer: Adam -> SGD"),
        ({"batch_size": 16}, "batch_size: 32 -> 16"),
        ({"seed": 4}, "seed: 0 -> 4"),
        ({"shift": 1}, "shift: 0 -> 1"),
        ({"epochs": 1}, "epochs: 2 -> 1"),
        ({"schedule": "one-cycle"}, "schedule: None -> one-cycle"),
        ({"label_smoothing": 0.1}, "label_smoothing: 0.0 -> 0.1"),
    ],
)
def test_resuming_with_other_settings_names_them(data, tmp_path, changed, named):
    run(small_net(), data, epochs=2, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="made with other settings") as caught:
        run(small_net(), data, **{"epochs": 2, "checkpoint": tmp_path / "run.pt"} | changed)
    assert named in str(caught.value)


def test_resuming_with_other_data_or_another_model_names_it(data, tmp_path):
    run(small_net(), data, epochs=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="data: digits 200 .* -> digits 100"):
        run(small_net(), (data[0][:100], data[1]), epochs=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="model: "):
        run(FastNet(4), data, epochs=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="model: "):
        load_checkpoint(tmp_path / "run.pt", FastNet(4))


def test_resume_false_starts_anew(data, tmp_path):
    run(small_net(), data, checkpoint=tmp_path / "run.pt", lr=0.001)
    model, fresh = small_net(), small_net()
    run(model, data, checkpoint=tmp_path / "run.pt", resume=False)
    run(fresh, data)
    assert same_weights(model, fresh)


def test_the_best_epoch_is_kept(data, tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.9, 0.7])
    real = cnnlab.train.evaluate

    def scripted(*args, **options):
        result = real(*args, **options)
        object.__setattr__(result, "accuracy", next(accuracies))
        return result

    monkeypatch.setattr(cnnlab.train, "evaluate", scripted)
    run(small_net(), data, checkpoint=tmp_path / "run.pt")
    assert load_checkpoint(best_path(tmp_path / "run.pt"), small_net()).test_accuracy == [0.5, 0.9]
    assert load_checkpoint(tmp_path / "run.pt", small_net()).test_accuracy == [0.5, 0.9, 0.7]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.best.pt", "run.pt"]


def test_a_failed_write_leaves_the_old_checkpoint(data, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(small_net(), data, epochs=1, checkpoint=path)
    before = path.read_bytes()

    def broken(state, file):
        file.write(b"half a checkpoint")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        run(small_net(), data, epochs=2, checkpoint=path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.best.pt", "run.pt"]


@pytest.mark.parametrize("content", [b"", b"half", "other"])
def test_a_broken_checkpoint_is_named(data, tmp_path, content):
    path = tmp_path / "run.pt"
    if content == "other":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="run.pt cannot be read as a checkpoint"):
        run(small_net(), data, checkpoint=path)


def test_loading_a_checkpoint_executes_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(tmp_path / "evil.pt", small_net())
    assert not (tmp_path / "executed").exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.pt"):
        load_checkpoint(tmp_path / "none.pt", small_net())


# A loss that is no number


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_advice(data, tmp_path, poison):
    class Poisoned(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.steps = small_net(), 0

        def forward(self, x):
            self.steps += self.training
            logits = self.net(x)
            return logits if self.steps < 10 else torch.where(torch.arange(10) == 0, poison, logits)

    model = Poisoned()
    with pytest.raises(
        TrainingDiverged, match=r"step 10\. .*learning rate 0\.01 .* try 0\.001 first.*run\.pt"
    ) as caught:
        run(model, data, checkpoint=tmp_path / "run.pt")
    assert isinstance(caught.value, FloatingPointError)
    assert len(caught.value.history.step_loss) == 9
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert load_checkpoint(tmp_path / "run.pt", Poisoned()).epoch == [1]


def test_a_learning_rate_far_too_large_diverges(data):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.Linear(50, 50), nn.Linear(50, 10))
    with pytest.raises(FloatingPointError, match="learning rate 1000 "):
        run(model, data, optimizer="sgd", lr=1000.0)


# Messages


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be a number above 0, got 0"),
        ({"epochs": math.inf}, ValueError, "epochs must be a number above 0, got inf"),
        (
            {"optimizer": "adamax"},
            ValueError,
            "unknown optimizer 'adamax'; known optimizers: sgd, momentum, adam",
        ),
        ({"schedule": "cosine"}, ValueError, "unknown schedule 'cosine'; known schedules: one-cycle"),
        ({"schedule": 3}, TypeError, "schedule must be None, a name or a function, got int"),
        ({"optimizer": lambda p: 3, "lr": None}, TypeError, "must give a torch.optim.Optimizer, got int"),
        ({"optimizer": lambda p: None}, ValueError, "brings its own learning rate"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ],
)
def test_fit_says_what_is_wrong(data, options, error, message):
    with pytest.raises(error, match=message):
        run(small_net(), data, **options)


def test_fit_refuses_the_optimizer_of_another_model(data):
    other = torch.optim.SGD(small_net().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="parameters of another model"):
        run(small_net(), data, optimizer=other, lr=None)


def test_empty_or_foreign_data_is_refused(data):
    with pytest.raises(ValueError, match="training data is empty"):
        run(small_net(), (data[0][:0], None))
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(small_net(), data[1][:0])
    with pytest.raises(TypeError, match="ImageData, Batches or a DataLoader, got ndarray"):
        evaluate(small_net(), data[1].images)


def test_the_progress_bar_is_shown_on_request(data, capsys):
    run(small_net(), data, epochs=1, progress=True)
    assert "7/7" in capsys.readouterr().err
    run(small_net(), data, epochs=1)
    assert capsys.readouterr().err == ""


def test_choose_device_is_one_that_is_there():
    assert torch.zeros(1, device=choose_device()).item() == 0
