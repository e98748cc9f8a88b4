"""`ablation_ray.py FOLDER`: a table of tiny runs in Ray processes, then a table whose runs fail."""

import sys
from pathlib import Path

from locations import HELPERS
from training_run import TINY

from mask_rcnn import config_io
from mask_rcnn.ablation.ray_trials import run_on_ray
from mask_rcnn.ablation.rows import Row, Table
from mask_rcnn.ablation.run import ablate

ROWS = (
    Row(name="align", paper={}),
    Row(name="pool", paper={}, changes={"roi_align.method": "roi_pool"}),
    Row(name="views", paper={}, trained_as="pool", scales=(1.0,)),
)
TABLE = Table(key="0", title="poolers", rows=ROWS)
MISSING = {
    f"data.{split}_{part}": "missing" for split in ("train", "val") for part in ("annotations", "images")
}


def run(folder, launch):
    """Returns the `Comparison` of the rows."""
    return ablate(TABLE, config_io.override(TINY, "train.steps", 3), folder, launch=launch)


if __name__ == "__main__":
    import ray

    folder = Path(sys.argv[1])
    workers = {"env_vars": {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HELPERS)}}
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", runtime_env=workers)
    run(folder / "runs", run_on_ray)
    try:
        ablate(TABLE, config_io.override_all(TINY, MISSING), folder / "failing", launch=run_on_ray)
    except RuntimeError as error:
        (folder / "error.txt").write_text(str(error))
