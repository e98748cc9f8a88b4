"""Runs the documentation's example of an experiment tracker, if the tracker is installed."""

import re

import pytest
from locations import ROOT

PAGE = ROOT / "docs/experiment_trackers.md"
CODE = re.compile(r"^```(?:python|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_weights_and_biases_gets_the_numbers_of_a_run(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the page needs `pip install wandb`")
    monkeypatch.chdir(tmp_path)
    found, names = [], {}
    init = wandb.init

    def recorded(**arguments):
        tracker = init(**arguments)
        log = tracker.log
        tracker.log = lambda values, step: (found.append((step, values)), log(values, step))
        return tracker

    monkeypatch.setattr(wandb, "init", recorded)
    for block in CODE.findall(PAGE.read_text(encoding="utf-8")):
        exec(compile(block, str(PAGE), "exec"), names)
    assert [step for step, _ in found] == [20, 40]
    assert all({"loss", "mask_loss", "learning_rate"} <= values.keys() for _, values in found)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
