"""`training_killed.py FOLDER STEP [in_checkpoint]`: a run of the toy that is killed, as by a power failure.

It is killed after the step, or while it writes the step's checkpoint.
"""

import sys
from pathlib import Path

from training_toy import ToyEvaluator, kill_after, kill_in_checkpoint, make_batches, make_trainer, run_toy

if __name__ == "__main__":
    folder, step = Path(sys.argv[1]), int(sys.argv[2])
    (kill_in_checkpoint if "in_checkpoint" in sys.argv else kill_after)(step)
    scores = iter([0.1, 0.4, 0.3])
    evaluator = ToyEvaluator(lambda: {"AP": next(scores)})
    run_toy(make_trainer(), make_batches, folder, evaluator)
