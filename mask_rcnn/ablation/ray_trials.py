"""Runs of a table at the same time, each a task of a Ray cluster."""

import os

from mask_rcnn.ablation.trial import run_trial
from mask_rcnn.terminal import say

MAX_RETRIES = 3  # of a run whose process was lost; it continues from its last checkpoint


def run_on_ray(trials, *, setup=None, **resources):
    """Runs trials at the same time on a Ray cluster, as many as its resources allow; needs the extra `ray`.

    Each run has a process of its own, and sees the GPUs that Ray gives it. All machines must see the working
    folder, the run directories and the data under the same paths. The cluster is that of `ray.init()`: the
    one that `RAY_ADDRESS` names, or this machine.

    Args:
        trials: List of `Trial`; one that evaluates the weights of another starts after it.
        setup: Function without arguments that each process calls first, to import code that registers
            backbones, heads, RoI poolers or transforms. Defaults to none.
        resources: Of each run, such as `num_gpus=1` or `num_cpus=8`. Defaults to Ray's, one CPU.

    Raises:
        RuntimeError: Runs failed. The others were finished first, and another call does not repeat them.
    """
    import ray  # an extra

    if not ray.is_initialized():
        ray.init()
    # A process is used once: it keeps the GPUs that TensorFlow saw first, and what it has imported.
    run = ray.remote(max_calls=1, max_retries=MAX_RETRIES, **resources)(_run_in_process)
    tasks = {}
    for trial in trials:
        before = [tasks[trial.trained]] if trial.trained else []
        tasks[trial.folder] = run.remote(trial, os.getcwd(), setup, *before)
    running = dict(zip(tasks.values(), trials, strict=True))
    failed = {}
    while running:
        (task, *_), _ = ray.wait(list(running))
        trial = running.pop(task)
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            failed[trial.title] = str(error).strip().splitlines()[-1]
        say(f"{trial.title}: {'failed' if trial.title in failed else 'finished'}; {len(running)} runs left")
    if failed:
        listing = "\n  ".join(f"{title}: {reason}" for title, reason in failed.items())
        raise RuntimeError(
            f"{len(failed)} of {len(trials)} runs failed on Ray. Received:\n  {listing}\n"
            "Correct the cause. The same command repeats only these runs."
        )


def _run_in_process(trial, folder, setup, *before):
    """Runs a trial in a process of Ray, after the tasks `before`; paths are relative to `folder`."""
    os.chdir(folder)
    if setup is not None:
        setup()
    run_trial(trial)
