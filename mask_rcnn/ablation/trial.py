"""One run of a row: a training, or an evaluation of the weights of another run."""

import gc
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from mask_rcnn.ablation.compare import read_validation_set
from mask_rcnn.config import Config
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.evaluation.model_evaluation import evaluate_model
from mask_rcnn.prediction.augmented_predictor import AugmentedPredictor
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.run_folder import CONFIG, FINAL_WEIGHTS
from mask_rcnn.training.train import train

FINISHED = ("results.json", "detections.json")  # the last files that a run writes


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run of a row.

    Args:
        row: Name of the row.
        title: Text that is printed at the start.
        config: `Config` with the seed of the run.
        folder: `Path` of its run folder.
        trained: `Path` of the run folder whose weights are evaluated with test-time augmentation, or None for
            a training.
        scales: Scales of the test-time augmentation, see `AugmentedPredictor`.
    """

    row: str
    title: str
    config: Config
    folder: Path
    trained: Path | None
    scales: tuple[float, ...]


def run_sequentially(trials: Sequence[Trial]) -> None:
    """Runs trials one after the other; see `run_trial`."""
    for trial in trials:
        run_trial(trial)
        keras.backend.clear_session()  # frees the model: the models of all rows would not fit into memory
        gc.collect()


def run_trial(trial: Trial) -> None:
    """Trains or evaluates a trial, unless it is finished. An interrupted training continues."""
    if all((trial.folder / name).exists() for name in FINISHED):
        print_line(f"{trial.title}: already finished, {trial.folder}")
        return
    print_line(f"{trial.title}: {trial.folder}")
    if trial.trained is None:
        train(trial.config, trial.folder, resume=True)
    else:
        _evaluate_views(trial, trial.trained)


def _evaluate_views(trial: Trial, trained: Path) -> None:
    """Evaluates weights with test-time augmentation and writes the files of a training's evaluation.

    Args:
        trial: `Trial`.
        trained: `Path` of the run folder with the weights.
    """
    config, folder = trial.config, trial.folder
    predictor = Predictor.load(trained / FINAL_WEIGHTS, config.train.precision)
    metrics, entries = evaluate_model(
        AugmentedPredictor(predictor, trial.scales), read_validation_set(config), config.data.val_annotations
    )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trained / CONFIG, folder / CONFIG)
    write_json(folder / "detections.json", entries)
    write_json(folder / "results.json", metrics.to_json())
    print_line(metrics.table())
