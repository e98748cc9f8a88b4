"""`training_killed.py FOLDER STEP`: a run of the toy that is killed after a step, as by a power cut."""

import sys
from pathlib import Path

from training_toy import kill_after, make_batches, make_trainer, run_toy

from mask_rcnn.training.evaluations import Validation

if __name__ == "__main__":
    folder, step = Path(sys.argv[1]), int(sys.argv[2])
    kill_after(step)
    scores = iter([0.1, 0.4, 0.3])
    validation = Validation(lambda: {"segm/AP": next(scores)}, "segm/AP", lambda: None)
    run_toy(make_trainer(), make_batches, folder, validation)
