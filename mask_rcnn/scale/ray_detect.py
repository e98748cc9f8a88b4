"""Detection in many images on a Ray cluster. Each worker loads the model once."""

import itertools
import os
from collections.abc import Generator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from mask_rcnn.errors import PartialFailure
from mask_rcnn.scale.processes import prepare_process
from mask_rcnn.scale.rows import SCHEMA, Detector, ImageFile, as_table, detect_rows
from mask_rcnn.system.parallel import require_ray

IMAGES_PER_TASK = 16  # number of images that are detected again if a worker dies
MAX_RETRIES = 3  # retries of a task whose worker died: an image may crash every worker


def detect_on_ray(
    images: Sequence[ImageFile], detector: Detector, *, num_workers: int | None = None, **resources: float
) -> Generator[pa.Table, None, None]:
    """Detects objects in images with the workers of a Ray cluster. It needs the extra `ray`.

    A worker is an actor of Ray Data's `map_batches`. If a worker dies, it is restarted, and its images are
    detected again. All machines must have the model, the images and the working directory under the same
    paths. The cluster is that of `ray.init()`: the one in `RAY_ADDRESS`, or this machine.

    Args:
        images: The image files.
        detector: Settings of the detection.
        num_workers: Number of workers. Defaults to None, as many as the cluster's resources allow.
        resources: Resources of each worker, such as `num_gpus=1` or `num_cpus=8`. Defaults to Ray's default,
            one CPU.

    Yields:
        A `pyarrow.Table` with the rows of some images, in order of completion.

    Raises:
        PartialFailure: Ray gave up, because workers could not start or died repeatedly.
        ValueError: Ray is not installed, or `resources` have neither a CPU nor a GPU.
    """
    require_ray()
    import ray  # optional package

    if not ray.is_initialized():
        ray.init()
    ray.data.DataContext.get_current().enable_progress_bars = False
    num_tasks = -(-len(images) // IMAGES_PER_TASK)
    items = [{"path": image.path, "name": image.name} for image in images]
    num_workers = num_workers or min(num_tasks, _workers_of_cluster(resources))
    rows = ray.data.from_items(items, override_num_blocks=num_tasks).map_batches(
        _Worker,
        fn_constructor_args=(detector, os.getcwd(), resources.get("num_cpus")),
        batch_size=IMAGES_PER_TASK,
        compute=ray.data.ActorPoolStrategy(size=num_workers),
        max_task_retries=MAX_RETRIES,
        **resources,
    )
    try:
        for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield table.select(SCHEMA.names).cast(SCHEMA)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise PartialFailure(
            f"Ray could not detect objects in all images ({reason}). The finished images are written. "
            "Correct the cause and run the same command again for the remaining images."
        ) from error


def _workers_of_cluster(resources: Mapping[str, float]) -> int:
    """Returns the number of workers with these resources that fit into the cluster, at least 1."""
    import ray

    available = ray.cluster_resources()
    needed = {"CPU": resources.get("num_cpus", 0 if "num_gpus" in resources else 1)}
    needed["GPU"] = resources.get("num_gpus", 0)
    counts = [int(available.get(name, 0) // number) for name, number in needed.items() if number]
    if not counts:
        raise ValueError(
            "A worker needs a CPU or a GPU, so that the number of workers follows from the cluster. "
            f"Received: {', '.join(f'{name}={number}' for name, number in resources.items())}. "
            "Set num_cpus or num_gpus to at least 1, or give num_workers."
        )
    return max(1, min(counts))


class _Worker:
    """An actor of Ray Data that loads the model once and returns the rows of images.

    Args:
        detector: Settings of the detection.
        folder: Working directory, which relative paths refer to.
        num_cpus: Number of CPUs that the worker may use, or None.
    """

    def __init__(self, detector: Detector, folder: str, num_cpus: float | None):
        os.chdir(folder)
        prepare_process(num_cpus)
        self.detector, self.predictor = detector, detector.load()

    def __call__(self, batch: Mapping[str, np.ndarray]) -> pa.Table:
        images = itertools.starmap(ImageFile, zip(batch["path"], batch["name"], strict=True))
        return as_table(list(detect_rows(self.detector, self.predictor, images)))
