"""Every check of a run before its first step."""

from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.records import Dataset
from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.fingerprint import check_fingerprint, fingerprint
from mask_rcnn.training.initial import check_initial_weights
from mask_rcnn.training.loop import restore_or_initialize
from mask_rcnn.training.prepare import check_disk_space, prepare
from mask_rcnn.training.run_folder import CHECKPOINTS

MAX_NAMES = 5  # classes in a line


def preflight(config, run_dir, run_id, data_folder, *, given=None, report=lambda check, found: None):
    """Checks a run, and makes it ready for its first step.

    Args:
        config: A `Config`.
        run_dir: `Path` of the run, in which nothing is changed.
        run_id: Id of the run.
        data_folder: `Path` for synthetic shapes, if there are no other data.
        given: Dict of `model`, `train_data` and `val_data` of `train`. Defaults to none of them.
        report: Function of the name of a check and a text of what it found, called after each check.

    Returns:
        run: `Run` with the weights of its next step.
        state: Dict for its checkpoints: `step`, `run` and `fingerprint`.

    Raises:
        ValueError, OSError: A check fails; the message says what to do.
    """
    given = given or {}
    is_new = not checkpoints(run_dir / CHECKPOINTS)
    if is_new and given.get("model") is None:
        check_initial_weights(config)
        report("initial weights", _initial_weights(config))
    run = prepare(config, data_folder, **given)
    report("training data", _describe(run.train_set))
    report("validation data", _describe(run.validator.dataset) if run.validator else "none")
    report("model", f"{run.model.count_params():,} parameters, {run.model.precision}")
    state = _restore(run, run_dir, run_id)
    report("run folder", f"continues after step {state['step']}" if state["step"] else "new")
    report("disk space", check_disk_space(run.model, run.config.train, run_dir))
    if run.validator:
        run.validator.rehearse()
        report("evaluation", "works")
    return run, state


def _restore(run, run_dir, run_id):
    """Loads the last checkpoint of a run, which must be of the same data and config, or its initial weights.

    Returns:
        Dict of the run: `step`, `run` and `fingerprint`.
    """
    mark = fingerprint(run.config, run.train_set)
    state = restore_or_initialize(
        run.model,
        run_dir,
        run_id,
        run.initialize,
        lambda state: check_fingerprint(state.get("fingerprint"), mark),
    )
    return {**state, "fingerprint": mark}


def _initial_weights(config):
    if config.train.init_weights:
        return f"of the detector {config.train.init_weights}"
    return f"of the backbone: {config.backbone.weights}" if config.backbone.weights else "random"


def _describe(data):
    """Returns the numbers of images, objects and classes of a data set."""
    if not isinstance(data, Dataset):
        return "batches"
    names = [category.name for category in data.categories]
    shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    num_objects = len(arrays_of(data).images)
    return f"{data.name}, {len(data)} images, {num_objects} objects, {len(names)} classes ({shown})"
