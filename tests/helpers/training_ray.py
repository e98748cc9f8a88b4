"""`training_ray.py FOLDER [STEP]`: the tiny run in two Ray workers. The second one is killed after a step."""

import functools
import json
import os
import signal
import sys
from pathlib import Path

import ray
from locations import HELPERS
from training_run import TINY

from mask_rcnn.training.callbacks import NanGuard
from mask_rcnn.training.ray_train import train_on_ray


def kill_second_worker(step, marker):
    """Kills the second worker after a step, the first time it runs."""
    is_second = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1
    if not is_second or marker.exists():
        return

    def on_step(self, current, logs, seconds):
        if current == step:
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    NanGuard.on_step = on_step


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    setup = None
    if len(sys.argv) > 2:
        setup = functools.partial(kill_second_worker, int(sys.argv[2]), folder / "killed")
    workers = {"env_vars": {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HELPERS)}}
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", runtime_env=workers)
    train_on_ray(TINY, folder / "run", num_workers=2, setup=setup)
