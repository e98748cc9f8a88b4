"""Training on a Ray cluster: Ray starts, connects and restarts the worker processes, which run `train`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.system.parallel import require_ray
from mask_rcnn.system.paths import local_path

if TYPE_CHECKING:
    import ray.train


def train_on_ray(
    config: Config,
    run_dir: str | Path,
    num_workers: int,
    *,
    setup: Callable[[], object] | None = None,
    max_failures: int = 3,
    **scaling: Any,
) -> "ray.train.Result":
    """Runs `train` in the workers of Ray Train's `TensorflowTrainer`. It needs the extra `ray`.

    If a worker fails, Ray restarts all workers, and the run continues from its last checkpoint.

    Args:
        config: `Config`. `train.strategy` must be "auto" or "multiworker".
        run_dir: Run folder. All machines must see it under this path.
        num_workers: Number of processes.
        setup: Function without arguments that each worker calls first. It can import code that registers
            backbones, heads, RoI poolers or transforms. Defaults to None.
        max_failures: Number of restarts, -1 for no limit. Defaults to 3.
        scaling: Other arguments of `ray.train.ScalingConfig`, such as `use_gpu=True` for one GPU per worker,
            or `resources_per_worker={"CPU": 8, "GPU": 2}`.

    Returns:
        `ray.train.Result`. Weights, scores and pictures are in `run_dir`.

    Raises:
        ray.train.TrainingFailedError: The run failed more often than `max_failures`.
        ValueError: `train.strategy` is a strategy for a single process, or Ray is not installed.
    """
    if config.train.strategy not in ("auto", "multiworker"):
        raise ValueError(
            "Ray's workers train together: `train.strategy` must be auto or multiworker. "
            f"Received: train.strategy={config.train.strategy!r}. Set it to auto."
        )
    require_ray()
    # Imported here because Ray is an optional extra, and this process does not need TensorFlow itself.
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    run_dir = local_path(run_dir).absolute()
    trainer = TensorflowTrainer(
        _train_in_worker,
        train_loop_config={"config": config_io.to_yaml(config), "run_dir": str(run_dir), "setup": setup},
        scaling_config=ScalingConfig(num_workers=num_workers, **scaling),
        run_config=RunConfig(
            name="ray", storage_path=str(run_dir), failure_config=FailureConfig(max_failures=max_failures)
        ),
    )
    return trainer.fit()


def _train_in_worker(options: dict[str, Any]) -> None:
    from mask_rcnn.training.train import train

    if options["setup"] is not None:
        options["setup"]()
    train(config_io.from_text(options["config"]), options["run_dir"])
