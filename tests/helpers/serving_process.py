"""Runs a server of a fake model in a separate process: `python serving_process.py`."""

from pathlib import Path

from fake_model import fake_model

from mask_rcnn.cli.signals import exits_on_signals
from mask_rcnn.serving.options import Options
from mask_rcnn.serving.server import serve
from mask_rcnn.serving.sources import Source


def load(path):
    model = fake_model()
    if path.name == "broken":
        raise ValueError("Received: half a model.")
    return model


if __name__ == "__main__":
    import sys

    with exits_on_signals():
        serve([Source("fruits", Path(sys.argv[1]))], load, Options(), host="127.0.0.1", port=0)
