"""Fixtures of the tests of exported models."""

import pytest


@pytest.fixture(scope="session")
def decode():
    """A function of the bytes of an image file that returns its pixels, as in a SavedModel.

    In error messages it is file 2 of a batch, counted from 0.
    """
    import tensorflow as tf

    from mask_rcnn.export.image_graph.image_files import decode_file

    function = tf.function(
        lambda contents: decode_file(2, contents, max_pixels=1_000_000),
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )
    return lambda contents: function(contents).numpy()


@pytest.fixture(scope="session")
def tiny_tflite(tiny_parts, tiny_config, tiny_categories, tmp_path_factory):
    """The path of the tiny model as a TFLite file with a frame of 64 x 96 pixels. Do not modify it."""
    from mask_rcnn.export.writers import lite

    metadata = lite.runner_metadata(tiny_config, (64, 96))
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    lite.write_file(path, lite.FramedPredictor(tiny_parts, tiny_config, tiny_categories, metadata=metadata))
    return path
