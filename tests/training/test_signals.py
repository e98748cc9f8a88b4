"""Tests that signals end a run after its current step with its state saved, and have no other effects."""

import signal
import threading

import numpy as np
import pytest
from training_toy import RECIPE, ToyEvaluator, make_batches, make_trainer, run_toy

from mask_rcnn.training.callbacks import NanGuard
from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.signals import StopSignals

ENDS = [
    pytest.param(signal.SIGINT, KeyboardInterrupt, None, id="SIGINT"),
    pytest.param(signal.SIGTERM, SystemExit, 143, id="SIGTERM"),
    pytest.param(signal.SIGHUP, SystemExit, 129, id="SIGHUP"),
]


@pytest.fixture(autouse=True)
def own_handlers():
    """The signal handlers of a host program, which differ from Python's defaults."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield before.keys()
    for number, handler in before.items():
        signal.signal(number, handler)


def weights(trainer):
    return [np.asarray(variable) for variable in trainer.variables]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    trainer = make_trainer()
    run_toy(trainer, make_batches, tmp_path_factory.mktemp("run"))
    return weights(trainer)


@pytest.mark.parametrize("number, kind, code", ENDS)
def test_the_state_of_the_running_step_is_saved_and_resumed(
    tmp_path, monkeypatch, capfd, uninterrupted, number, kind, code
):
    def on_step(self, step, logs, seconds):
        if step == 6:
            signal.raise_signal(number)

    monkeypatch.setattr(NanGuard, "on_step", on_step)
    with pytest.raises(kind) as stop:
        run_toy(make_trainer(), make_batches, tmp_path)
    assert code is None or stop.value.code == code
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step_00000006.h5"
    assert f"Saved after step 6 of {RECIPE.steps}. Continue with `--resume`." in capfd.readouterr().err

    monkeypatch.undo()
    trainer = make_trainer(seed=1)
    run_toy(trainer, make_batches, tmp_path)
    for ours, theirs in zip(weights(trainer), uninterrupted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_signal_during_an_evaluation_ends_at_once_and_the_evaluation_is_made_up_for(tmp_path):
    def evaluate():
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    with pytest.raises(SystemExit):
        run_toy(make_trainer(), make_batches, tmp_path, ToyEvaluator(evaluate))
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step_00000004.h5"]
    scores = iter([0.1, 0.2, 0.3])
    evaluator = ToyEvaluator(lambda: {"AP": next(scores)})
    run_toy(make_trainer(), make_batches, tmp_path, evaluator)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == ['{"step": 4, "AP": 0.1}', '{"step": 8, "AP": 0.2}', '{"step": 10, "AP": 0.3}']


def test_the_handlers_of_before_are_back_at_the_end(own_handlers):
    numbers = [*own_handlers, signal.SIGINT]
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(ValueError), StopSignals():
        assert [signal.getsignal(number) for number in numbers] != before
        raise ValueError
    assert [signal.getsignal(number) for number in numbers] == before


def test_ctrl_c_twice_ends_at_once():
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_terminal_that_sends_sighup_twice_does_not_prevent_saving():
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stop.received == signal.SIGHUP


def test_a_signal_before_an_evaluation_ends_the_run_before_it():
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit, match="143"), stop.nothing_to_save():
            raise AssertionError("it went on")


def test_a_signal_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_changes():
    before, seen = signal.getsignal(signal.SIGINT), []

    def in_a_thread():
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert seen == [before]
