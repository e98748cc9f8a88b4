"""`detect_ray.py FOLDER [worker|driver]`: detects in all images with two Ray workers.

The second argument says what is killed meanwhile: one of the workers, or the driver, which is this process.
FOLDER has `model.weights.h5` and `photos`.
"""

import functools
import itertools
import os
import signal
import sys
from pathlib import Path

from locations import HELPERS

from mask_rcnn.scale.parquet_folder import ParquetFolder, detect_in_parts
from mask_rcnn.scale.ray_detect import detect_on_ray
from mask_rcnn.scale.rows import Detector, ImageFile

IMAGES_BEFORE = 20  # images before a worker is killed, during its second task


def load(folder, is_killed):
    """Returns the predictor of a worker. With `is_killed`, one worker kills itself once."""
    from mask_rcnn.prediction.predict import Predictor

    predictor = Predictor.load(folder / "model.weights.h5")
    detect, count = predictor.detect_batch, itertools.count(1)

    def detect_batch(inputs):
        if is_killed and next(count) > IMAGES_BEFORE:
            try:
                (folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                return detect(inputs)
            os.kill(os.getpid(), signal.SIGKILL)
        return detect(inputs)

    predictor.detect_batch = detect_batch
    return predictor


if __name__ == "__main__":
    import ray

    folder, killed = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    workers = {"env_vars": {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HELPERS)}}
    own = {"num_cpus": 2, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(runtime_env=workers, **({} if "RAY_ADDRESS" in os.environ else own))
    images = [ImageFile(os.fsencode(path), path.name) for path in sorted((folder / "photos").iterdir())]
    import detect_ray  # functions of the module `__main__` would be pickled by value

    detector = Detector(load=functools.partial(detect_ray.load, folder, killed == "worker"))
    launch = functools.partial(detect_on_ray, detector=detector, num_cpus=1)
    with ParquetFolder(folder / "rows", {}, max_rows=16) as parts:
        for _ in detect_in_parts(images, parts, launch):
            if killed == "driver" and len(parts.done) >= len(images) // 2:
                os.kill(os.getpid(), signal.SIGKILL)
