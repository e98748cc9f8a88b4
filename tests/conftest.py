"""Fixtures that several test files share."""

import signal
import sys
import types

import pytest
import tiny_model
from locations import EXTERNAL

# Failed assertions in these helper modules show values, as those in tests do.
pytest.register_assert_rewrite("cluster_processes", "parity_harness", "training_batches", "training_results")


@pytest.fixture(autouse=True)
def default_signals():
    """Sets the signal handlers of a terminal; with `nohup` and in background jobs some are ignored."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):  # not on Windows
        handlers[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of the real data sets. Tests that need it are skipped if it does not exist."""
    folder = EXTERNAL / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_config():
    """The config of a complete Mask R-CNN with three classes for images of 64 x 96 pixels."""
    return tiny_model.make_config()


@pytest.fixture(scope="session")
def tiny_parts(tiny_config):
    """The networks of `tiny_config` with ImageNet weights and spread scores. Do not modify them."""
    return tiny_model.make_parts(tiny_config)


@pytest.fixture(scope="session")
def tiny_batch():
    """Two different images: one of 64 x 96 pixels with two objects, one of 50 x 80 with one."""
    return tiny_model.make_batch()


@pytest.fixture(scope="session")
def resnet50_parts():
    """The networks of torchvision's `maskrcnn_resnet50_fpn`, 44 million weights. Do not modify them."""
    from mask_rcnn.model import build_parts
    from mask_rcnn.model_zoo.torchvision import maskrcnn_resnet50_fpn

    return build_parts(maskrcnn_resnet50_fpn())


@pytest.fixture(scope="session")
def tiny_categories():
    from mask_rcnn.structures import Category

    return (Category(1, "cat"), Category(2, "dog"), Category(5, "cow"))


@pytest.fixture(scope="session")
def tiny_saved_model(tiny_parts, tiny_config, tiny_categories, tmp_path_factory):
    """The path of the tiny model as a SavedModel. Do not modify it."""
    from mask_rcnn.export.writers import saved_model
    from mask_rcnn.prediction.predict import Predictor

    path = tmp_path_factory.mktemp("export") / "saved_model"
    saved_model.write(path, Predictor(tiny_parts, tiny_config, tiny_categories))
    return path


@pytest.fixture
def blobs(monkeypatch):
    """Commands load a `BlobPredictor` instead of weights."""
    from blob_predictor import BlobPredictor
    from cli_fakes import CATEGORIES

    class Loaded(BlobPredictor):
        categories = CATEGORIES

    monkeypatch.setitem(sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=Loaded))
