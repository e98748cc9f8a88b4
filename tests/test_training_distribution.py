"""Which process of a run this one is, and that only one of them writes."""

import types

import pytest
import tensorflow as tf
from training_toy import RECIPE, ToyValidator, make_batches, make_trainer, run_toy

from mask_rcnn.training import loop
from mask_rcnn.training.distribution import RunContext, run_context


def test_a_run_without_a_cluster_is_one_process():
    context = run_context(tf.distribute.get_strategy())
    assert (context.rank, context.num_processes, context.is_chief) == (0, 1, True)
    context = run_context(tf.distribute.MirroredStrategy(["CPU:0"]))
    assert (context.rank, context.num_processes) == (0, 1)


WORKERS = {"worker": ["localhost:1", "localhost:2"]}
WITH_CHIEF = {"chief": ["localhost:3"], **WORKERS}


@pytest.mark.parametrize(
    "cluster, job, task, rank, count",
    [
        (WORKERS, "worker", 0, 0, 2),
        (WORKERS, "worker", 1, 1, 2),
        (WITH_CHIEF, "chief", 0, 0, 3),
        (WITH_CHIEF, "worker", 0, 1, 3),
        (WITH_CHIEF, "worker", 1, 2, 3),
    ],
)
def test_the_first_process_of_a_cluster_is_its_chief(cluster, job, task, rank, count):
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), task_type=job, task_id=task
    )
    context = run_context(types.SimpleNamespace(cluster_resolver=resolver))
    assert (context.rank, context.num_processes, context.is_chief) == (rank, count, rank == 0)


def test_only_the_chief_writes(tmp_path, monkeypatch):
    def evaluate():
        raise AssertionError("only the chief evaluates")

    chief, other = make_trainer(), make_trainer()
    run_toy(chief, make_batches, tmp_path / "chief")
    (tmp_path / "other").mkdir()
    state = loop.restore_or_initialize(other, tmp_path / "other", "toy")
    monkeypatch.setattr(loop, "run_context", lambda strategy: RunContext(strategy, rank=1, num_processes=2))
    loop.run_steps(
        other,
        make_batches,
        RECIPE,
        tmp_path / "other",
        state,
        validator=ToyValidator(evaluate),
    )
    assert not list((tmp_path / "other").iterdir())
    assert other.optimizer.iterations == chief.optimizer.iterations == 10
