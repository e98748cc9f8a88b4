"""`training_killed.py FOLDER STEP`: a run of the toy that is killed after a step, as by a power cut."""

import os
import signal
import sys
from pathlib import Path

from training_toy import RECIPE, make_batches, make_trainer

from mask_rcnn.training.callbacks import NanGuard, Validation
from mask_rcnn.training.loop import run_steps


def kill_after(step):
    """Makes the guard, which comes between log and checkpoint, end this process."""

    def on_step(self, current, logs, seconds):
        if current == step:
            os.kill(os.getpid(), signal.SIGKILL)

    NanGuard.on_step = on_step


if __name__ == "__main__":
    folder, step = Path(sys.argv[1]), int(sys.argv[2])
    kill_after(step)
    scores = iter([0.1, 0.4, 0.3])
    validation = Validation(lambda: {"segm/AP": next(scores)}, "segm/AP", lambda: None)
    run_steps(make_trainer(), make_batches, RECIPE, folder, validation)
