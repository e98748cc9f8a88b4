"""Runs the trials of a table in parallel as tasks of a Ray cluster."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from mask_rcnn.ablation.trial import Trial, run_trial
from mask_rcnn.system.parallel import require_ray
from mask_rcnn.system.terminal import print_line

MAX_RETRIES = 3  # retries after a process was lost; the run continues from its last checkpoint


def run_on_ray(
    trials: Sequence[Trial], *, setup: Callable[[], object] | None = None, **resources: Any
) -> None:
    """Runs trials in parallel on a Ray cluster, as many as its resources allow. It needs the extra `ray`.

    Each run has its own process and sees the GPUs that Ray assigns to it. All machines must see the working
    directory, the run folders and the data under the same paths. The cluster is that of `ray.init()`: the one
    in `RAY_ADDRESS`, or this machine.

    Args:
        trials: List of `Trial`. A trial that evaluates the weights of another one starts after it.
        setup: Function without arguments that each process calls first. It can import code that registers
            backbones, heads, RoI poolers or transforms. Defaults to None.
        resources: Resources of each run, such as `num_gpus=1` or `num_cpus=8`. Defaults to Ray's default, one
            CPU.

    Raises:
        RuntimeError: Runs failed. The other runs are finished first, and another call repeats only the failed
            runs.
        ValueError: Ray is not installed.
    """
    require_ray()
    import ray  # an optional extra

    if not ray.is_initialized():
        ray.init()
    # Each process runs one task, because a process keeps its imports and the GPUs that TensorFlow saw first.
    run = ray.remote(max_calls=1, max_retries=MAX_RETRIES, **resources)(_run_in_process)
    tasks = {}
    for trial in trials:
        dependencies = [tasks[trial.trained]] if trial.trained else []
        tasks[trial.folder] = run.remote(trial, os.getcwd(), setup, *dependencies)
    running = dict(zip(tasks.values(), trials, strict=True))
    failed: dict[str, str] = {}
    while running:
        (task, *_), _ = ray.wait(list(running))
        trial = running.pop(task)
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            failed[trial.title] = str(error).strip().splitlines()[-1]
        print_line(
            f"{trial.title}: {'failed' if trial.title in failed else 'finished'}; {len(running)} runs left"
        )
    if failed:
        listing = "\n  ".join(f"{title}: {reason}" for title, reason in failed.items())
        raise RuntimeError(
            f"{len(failed)} of {len(trials)} runs failed on Ray. Received:\n  {listing}\n"
            "Correct the cause. The same command repeats only these runs."
        )


def _run_in_process(
    trial: Trial, folder: str, setup: Callable[[], object] | None, *dependencies: object
) -> None:
    """Runs a trial in a Ray process after the tasks `dependencies`. Paths are relative to `folder`."""
    os.chdir(folder)
    if setup is not None:
        setup()
    run_trial(trial)
