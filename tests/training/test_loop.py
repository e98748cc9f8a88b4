"""Tests of a run of the toy: its losses, logs, NaN guard and evaluation, and resuming it."""

import csv
import functools
import io
import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import rich.console
from locations import HELPERS
from training_toy import LOSSES, RECIPE, ToyEvaluator, make_batches, make_trainer, run_toy

from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.plot import plot_losses
from mask_rcnn.training.progress import Progress


def read_log(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights(trainer):
    return [np.asarray(variable) for variable in trainer.variables]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An uninterrupted run of ten steps with three evaluations, of which the second is the best."""
    folder = tmp_path_factory.mktemp("run")
    trainer = make_trainer()
    scores, saved = iter([0.1, 0.4, 0.3]), []
    trainer.save_weights = lambda path: saved.append(weights(trainer))
    state = run_toy(trainer, make_batches, folder, ToyEvaluator(lambda: {"AP": next(scores)}))
    return folder, trainer, state, saved


def test_every_loss_is_in_the_log_by_name_and_they_sum_up(run):
    rows = read_log(run[0])
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    for row in rows:
        assert float(row["loss"]) == pytest.approx(sum(float(row[name]) for name in LOSSES), rel=1e-5)
        assert float(row["images_per_second"]) > 0


def test_each_row_of_the_log_is_of_its_step_alone(tmp_path):
    trainer = make_trainer(learning_rate=0.0)
    run_toy(trainer, make_batches, tmp_path)
    for row, batch in zip(read_log(tmp_path), make_batches(), strict=True):
        for name, pairs in trainer(batch).items():
            sums, counts = np.sum(pairs, axis=0)
            assert float(row[name]) == pytest.approx(sums / counts, rel=1e-5)


def test_the_log_has_the_rate_of_each_step(run):
    rates = [float(row["learning_rate"]) for row in read_log(run[0])]
    warm_up = [0.005 * (0.001 + 0.999 * step / 3) for step in range(3)]
    np.testing.assert_allclose(rates, [*warm_up, *[0.005] * 5, 0.0005, 0.0005], rtol=1e-5)


def test_history_has_the_losses_by_name(run):
    assert {"loss", "learning_rate", *LOSSES} <= set(run[1].history.history)


def test_evaluations_are_logged_and_the_best_weights_are_kept(run):
    folder, _, state, saved = run
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 4, "AP": 0.1}, {"step": 8, "AP": 0.4}, {"step": 10, "AP": 0.3}]
    assert state == {"step": 10, "run": "toy"}
    assert len(saved) == 2


def test_the_last_checkpoints_are_kept(run):
    assert [path.name for path in checkpoints(run[0] / "checkpoints")] == [
        "step_00000008.h5",
        "step_00000010.h5",
    ]


def test_a_finished_run_is_not_trained_again(run):
    folder, trainer, state, _ = run
    other = make_trainer(seed=1)
    assert run_toy(other, None, folder) == state
    for ours, theirs in zip(weights(other), weights(trainer), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_callbacks_of_the_user_see_every_step_after_its_checkpoint(tmp_path):
    seen = []
    count = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_train_batch_end=lambda batch, logs: seen.append(len(list(tmp_path.glob("checkpoints/*.h5")))),
        on_train_end=lambda logs: seen.append("end"),
    )
    run_toy(make_trainer(), make_batches, tmp_path, callbacks=[count])
    assert (seen[0], seen[-1], len(seen)) == ("begin", "end", 12)
    assert seen[RECIPE.checkpoint_every] == 1 and seen[RECIPE.checkpoint_every - 1] == 0


def test_the_same_seed_is_the_same_run(run, tmp_path):
    trainer = make_trainer()
    run_toy(trainer, make_batches, tmp_path)
    for ours, theirs in zip(weights(trainer), weights(run[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "step, words",
    [pytest.param(3, [], id="3"), pytest.param(8, ["in_checkpoint"], id="8 in its checkpoint")],
)
def test_a_run_killed_at_any_step_and_resumed_ends_like_the_uninterrupted_one(run, tmp_path, step, words):
    killed = subprocess.run(
        [sys.executable, HELPERS / "training_killed.py", tmp_path, str(step), *words],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert len(read_log(tmp_path)) == step

    trainer = make_trainer(seed=5)  # must leave no trace
    scores = iter([0.1, 0.4, 0.3][(step - 1) // 4 :])
    evaluator = ToyEvaluator(lambda: {"AP": next(scores)})
    if step < 4:
        trainer = make_trainer()  # killed before its first checkpoint, so it starts again
    state = run_toy(trainer, make_batches, tmp_path, evaluator)

    assert state == run[2]
    for ours, theirs in zip(weights(trainer), weights(run[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    for name in ("step", "loss", "learning_rate"):
        assert [row[name] for row in read_log(tmp_path)] == [row[name] for row in read_log(run[0])]
    assert (tmp_path / "metrics.jsonl").read_text() == (run[0] / "metrics.jsonl").read_text()


def test_the_latest_weights_are_the_best_if_nothing_can_be_measured(tmp_path, capsys):
    trainer, saved = make_trainer(), []
    trainer.save_weights = lambda path: saved.append(weights(trainer))
    run_toy(trainer, make_batches, tmp_path, ToyEvaluator(lambda: {"AP": None}))
    assert len(saved) == 3
    for best, latest in zip(saved[-1], weights(trainer), strict=True):
        np.testing.assert_array_equal(best, latest)
    assert "step 10/10  AP is not measurable" in capsys.readouterr().out


def test_a_loss_that_is_nan_stops_the_run_and_names_step_losses_and_images(tmp_path):
    batches = functools.partial(make_batches, spoil=6)
    with pytest.raises(ValueError) as error:
        run_toy(make_trainer(), batches, tmp_path, images_of=lambda step: [f"{step}.jpg"])
    for part in ("step=6", "rpn_box_loss=nan", "images=['6.jpg']", "train.learning_rate", "resume"):
        assert part in str(error.value)
    assert "first value that is not finite is in images of the batch (1 of 4608 values)" in str(error.value)
    assert len(checkpoints(tmp_path / "checkpoints")) == 1
    # With the repaired image, the run continues from step 4.
    assert run_toy(make_trainer(), make_batches, tmp_path)["step"] == 10
    assert [int(row["step"]) for row in read_log(tmp_path)] == list(range(1, 11))


def test_a_run_stopped_by_nan_is_resumed_with_another_learning_rate(tmp_path):
    with pytest.raises(ValueError, match=r"`--resume --set train\.learning_rate=\.\.\.`"):
        run_toy(make_trainer(), functools.partial(make_batches, spoil=6), tmp_path)
    run_toy(make_trainer(learning_rate=0.001), make_batches, tmp_path)
    rates = [float(row["learning_rate"]) for row in read_log(tmp_path)]
    np.testing.assert_allclose(rates[3:], [0.005, *[0.001] * 4, 0.0001, 0.0001], rtol=1e-5)


def test_batches_that_end_early_are_an_error(tmp_path):
    with (
        pytest.warns(UserWarning, match="ran out of data"),
        pytest.raises(ValueError, match="Received: 5 of 10 steps"),
    ):
        run_toy(make_trainer(), functools.partial(make_batches, steps=5), tmp_path)


def test_half_a_line_of_a_killed_run_is_dropped(run, tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n1,0.5\n2,0.")
    run_toy(make_trainer(), make_batches, tmp_path)
    assert (tmp_path / "log.csv").read_text().splitlines()[1].startswith("1,")
    assert len(read_log(tmp_path)) == 10


def progress_text(terminal):
    out = io.StringIO()
    console = rich.console.Console(file=out, force_terminal=terminal, width=120)
    with Progress(100, 200, batch_size=4, console=console) as progress:
        for batch in range(100):
            progress.on_train_batch_begin(batch)
            progress.on_train_batch_end(batch, {"loss": 2.0, "learning_rate": 0.02})
    return out.getvalue()


def test_progress_in_a_file_is_plain_lines_with_loss_rate_speed_and_time_left():
    first, *_, last = progress_text(terminal=False).splitlines()
    assert re.fullmatch(r"step 101/200  loss 2\.0000  lr 0\.02  [\d.]+ images/s  ETA unknown", first)
    assert re.fullmatch(r"step 200/200  loss 2\.0000  lr 0\.02  [\d.]+ images/s  ETA 0:00:00", last)
    assert "\x1b" not in progress_text(terminal=False)


def test_progress_on_a_terminal_is_a_bar():
    assert "\x1b" in progress_text(terminal=True)
    assert "step 200/200" in progress_text(terminal=True)


def test_time_left_is_that_of_the_whole_run():
    progress = Progress(100, 200, batch_size=4, console=rich.console.Console(file=io.StringIO()))
    progress.started = 101, 1000.0
    assert str(progress.time_left(111, 1020.0)) == "0:02:58"  # 2 s per step, 89 steps left


def test_the_losses_are_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    plot_losses(run[0] / "log.csv", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_one_line_says_so(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot_losses(run[0] / "log.csv", tmp_path / "loss.png")
    assert "pip install matplotlib" in caplog.text
    assert not (tmp_path / "loss.png").exists()


def test_callbacks_of_the_user_are_called_as_keras_calls_them_with_all_steps_as_one_epoch(tmp_path):
    calls = []

    class Recorder(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            calls.append("train begin")

        def on_epoch_begin(self, epoch, logs=None):
            calls.append(f"epoch begin {epoch}")

        def on_train_batch_end(self, batch, logs=None):
            assert {"loss", "learning_rate"} <= logs.keys()
            calls.append(batch)

        def on_epoch_end(self, epoch, logs=None):
            calls.append(f"epoch end {epoch}")

        def on_train_end(self, logs=None):
            calls.append("train end")

    run_toy(make_trainer(), make_batches, tmp_path, callbacks=[Recorder()])
    assert calls == ["train begin", "epoch begin 0", *range(10), "epoch end 0", "train end"]
