"""Tests of the rank of a process in a run, and that only one process writes."""

import json
import signal
import types

import pytest
import tensorflow as tf
from training_toy import RECIPE, ToyEvaluator, make_batches, make_trainer, run_toy

from mask_rcnn.training import distribution, loop
from mask_rcnn.training.batches import batches_of
from mask_rcnn.training.distribution import make_strategy
from mask_rcnn.training.preflight import check_same_run
from mask_rcnn.training.processes import RunContext, report_lost_process, run_context
from mask_rcnn.training.signals import StopSignals


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


def test_all_processes_evaluate_and_only_the_chief_writes(tmp_path, monkeypatch):
    steps = []

    def evaluate():
        steps.append(int(other.optimizer.iterations))
        return {"AP": 0.5}

    chief, other = make_trainer(), make_trainer()
    run_toy(chief, make_batches, tmp_path / "chief")
    (tmp_path / "other").mkdir()
    state = loop.restore_or_initialize(other, tmp_path / "other", "toy")
    context = RunContext(tf.distribute.get_strategy(), rank=1, num_processes=2)
    monkeypatch.setattr(loop, "run_context", lambda strategy: context)
    loop.run_steps(
        other,
        make_batches,
        recipe=RECIPE,
        run_dir=tmp_path / "other",
        state=state,
        evaluator=ToyEvaluator(evaluate, context=context),
    )
    assert steps == [4, 8]
    assert not list((tmp_path / "other").iterdir())
    assert other.optimizer.iterations == chief.optimizer.iterations == 10


def test_auto_is_one_device_where_there_are_no_gpus(capsys):
    assert make_strategy("auto", 3) is tf.distribute.get_strategy()
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "batch_size, used, text",
    [
        (8, 4, "Strategy mirrored: 4 of 4 GPUs for batches of 8.\n"),
        (6, 3, "Strategy mirrored: 3 of 4 GPUs for batches of 6.\n"),
        (5, 1, "Strategy none: 1 of 4 GPUs for batches of 5.\n"),
    ],
)
def test_auto_takes_as_many_gpus_as_divide_the_batch(monkeypatch, capsys, batch_size, used, text):
    gpus = [f"GPU:{number}" for number in range(4)]
    made = []

    def mirrored(devices):
        made.append(devices)
        return types.SimpleNamespace(num_replicas_in_sync=len(devices))

    monkeypatch.setattr(distribution, "_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", mirrored)
    assert make_strategy("auto", batch_size).num_replicas_in_sync == used
    assert made == ([gpus[:used]] if used > 1 else [])
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    "cluster, task, kind",
    [
        (None, None, "none"),
        ({"worker": ["a:1"]}, {"type": "worker", "index": 0}, "none"),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 1}, "multiworker"),
        ({"chief": ["a:1"], "worker": ["b:1"]}, {"type": "worker", "index": 0}, "multiworker"),
    ],
)
def test_auto_takes_all_processes_of_a_cluster(monkeypatch, capsys, cluster, task, kind):
    class Cluster:
        num_replicas_in_sync = 2
        cluster_resolver = None

    monkeypatch.delenv("TF_CONFIG", raising=False)
    if cluster:
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", Cluster)
    is_cluster = isinstance(make_strategy("auto", 4), Cluster)
    assert is_cluster == (kind == "multiworker")
    assert ("Strategy multiworker:" in capsys.readouterr().out) == is_cluster


def test_a_batch_that_the_processes_cannot_share_evenly_is_an_error(monkeypatch):
    cluster = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(distribution, "_multiworker", lambda: cluster)
    with pytest.raises(ValueError, match="batch_size=4, 3 replicas.*a multiple of 3"):
        make_strategy("multiworker", 4)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
@pytest.mark.parametrize("name", ["auto", "multiworker"])
def test_an_unusable_cluster_is_an_error_that_shows_an_example(monkeypatch, name, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="as in .*host1:12345.* Received: TF_CONFIG="):
        make_strategy(name, 4)


def test_a_cluster_without_addresses_is_an_error(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="Received: no TF_CONFIG in the environment"):
        make_strategy("multiworker", 4)


def test_a_cluster_that_is_made_too_late_is_an_error(monkeypatch):
    def late():
        raise RuntimeError("Collective ops must be configured at program startup")

    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 0}}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", late)
    with pytest.raises(ValueError, match="before TensorFlow computes anything.* at program startup"):
        make_strategy("multiworker", 4)


def test_a_machine_without_a_tpu_is_an_error(monkeypatch):
    def connect(tpu):
        raise tf.errors.NotFoundError(None, None, "TPUs not found in the cluster.")

    monkeypatch.setattr(tf.distribute.cluster_resolver.TPUClusterResolver, "connect", connect)
    with pytest.raises(ValueError, match="needs a TPU on this machine. Received: TPUs not found"):
        make_strategy("tpu", 4)


def test_processes_with_another_config_or_other_data_are_an_error():
    mark = {"config": "train: {steps: 5}", "digest": "a"}
    context = types.SimpleNamespace(gather=lambda mark: [mark, mark, {**mark, "digest": "b"}])
    with pytest.raises(ValueError, match="Received: process 2, different from process 0"):
        check_same_run(mark, context)
    context.gather = lambda mark: [mark, {**mark, "config": "train: {steps: 6}"}, mark]
    with pytest.raises(ValueError, match="Received: process 1, different from process 0"):
        check_same_run(mark, context)
    elsewhere = {**mark, "config": "train: {steps: 5}\ndata: {train_images: /elsewhere}"}
    context.gather = lambda mark: [mark, elsewhere]
    check_same_run(mark, context)


def test_a_signal_in_another_process_is_agreed_on():
    context = types.SimpleNamespace(gather_numbers=lambda number: [number, signal.SIGTERM])
    stop = StopSignals()
    assert stop.received_by_any(context) == stop.received == signal.SIGTERM
    context.gather_numbers = lambda number: [number, 0]
    assert StopSignals().received_by_any(context) is None


def test_a_lost_process_is_an_error_that_says_so():
    message = "All 2 processes.* Received: Socket closed. Check the output"
    with pytest.raises(ValueError, match=message), report_lost_process(RunContext(None, 0, 2)):
        raise tf.errors.UnavailableError(None, None, "Socket closed")


def test_each_process_gets_a_part_of_each_batch_of_files_too():
    context = RunContext(tf.distribute.get_strategy(), rank=1, num_processes=2)
    with batches_of(make_batches(), None, context) as (batches, images_of):
        policy = batches(0).options().experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.DATA
        assert images_of(1) == "unknown"
