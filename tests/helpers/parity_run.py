"""Loads a fixture of a published model, and runs the same model here, for the parity tests.

`tests/parity` has the two fixtures of every test run. The others are in `EXTERNAL_PARITY`, outside the
repository.
"""

import importlib
import json

import numpy as np
import pytest
import tensorflow as tf
from locations import EXTERNAL, PARITY
from parity_weights import load_state_dict

from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.model import build_parts, dtype_policy, inference_model
from mask_rcnn.model_zoo.convert import convert, swap_xy
from mask_rcnn.prediction.predict import Predictor

EXTERNAL_PARITY = EXTERNAL / "parity"

XYXY = [1, 0, 3, 2]  # turns yxyx into xyxy and back


class Peer:
    """A fixture. Its methods return arrays in the layout of this package.

    That is RGB, channels last, background first, and deltas as (dy, dx, dh, dw).
    """

    def __init__(self, name):
        folder = next((x for x in (PARITY, EXTERNAL_PARITY) if (x / f"{name}.outputs.npz").is_file()), None)
        if folder is None:
            pytest.skip(f"needs the fixture {name} in {EXTERNAL_PARITY}")
        with np.load(folder / f"{name}.outputs.npz", allow_pickle=False) as arrays:
            self.arrays = dict(arrays)
        self.meta = json.loads(str(self.arrays["meta"]))
        self.state_dict = load_state_dict(folder / f"{name}.weights.npz")
        self.preset = importlib.import_module(f"mask_rcnn.model_zoo.{self.meta['peer']}").PRESETS[name]
        self.background_last = self.meta["background"] == "last class"

    def __getitem__(self, name):
        return self.arrays[name]

    def __contains__(self, name):
        return name in self.arrays

    def levels(self):
        """Returns the names of the maps that have anchors."""
        return [name[len("rpn_logits.") :] for name in self.arrays if name.startswith("rpn_logits.")]

    def pixels(self, name):
        """Returns an image `[3, H, W]` in RGB."""
        return self[name][::-1] if self.background_last else self[name]

    def class_logits(self, name):
        return np.roll(self[name], 1, axis=-1) if self.background_last else self[name]

    def box_deltas(self, name):
        """Returns `[R, K * 4]`, (dy, dx, dh, dw), without the background."""
        deltas = swap_xy(self[name].T).T
        return deltas if self.background_last else deltas[:, 4:]

    def class_ids(self):
        return self["labels"] + 1 if self.background_last else self["labels"]

    def boxes(self, name):
        """Returns `[N, 4]`, yxyx."""
        return self[name][:, XYXY]

    def mask(self, index):
        return np.unpackbits(self["masks.packed"][index], axis=-1, count=640).astype(bool)


class Run:
    """Runs this package's model on the fixture's image, in one precision."""

    def __init__(self, peer, precision):
        self.exact = precision == "float64"
        config = peer.preset.config()
        with dtype_policy(precision):
            self.parts = build_parts(config)
            convert(self.parts, peer.state_dict, peer.preset.table, ignored=peer.preset.ignored)
            self.model = inference_model(self.parts, config, intermediates=True)
            predictor = Predictor(self.parts, config, peer.preset.categories)
        image = read_image(PARITY / "image_427x640.png")
        if self.exact and not peer.background_last:
            # The original's first step, which rounds to float32.
            image = 255 * (image.astype("float32") / np.float32(255)).astype("float64")
        self.batch, resize = predictor.preprocess(image)
        self.outputs = tf.nest.map_structure(lambda x: x.numpy(), self._run(self.batch))
        final = {name: self.outputs[name][0] for name in predictor.model.output}
        self.detections = predictor.postprocess(final, resize)
        self.pyramid = [self.outputs[name] for name in peer.levels() if name != "P6"]

    @tf.function(autograph=False)  # a graph frees each map after its last use
    def _run(self, batch):
        return {name: x for name, x in self.model(batch).items() if not name.endswith("_pooled")}

    def pool(self, boxes, layer):
        """Pools boxes `[N, 4]` from this model's maps with the layer `layer`."""
        return self.model.get_layer(layer)(self.pyramid, boxes[None])

    def roi_stage(self, pooled):
        """Returns the features of a head: the pooled ones, after the backbone's last stage if RoIs use it."""
        return self.parts.roi_stage(pooled) if self.parts.roi_stage else pooled

    def box_head(self, pooled):
        """Returns the logits, and the deltas without those of the background."""
        logits, deltas = self.parts.box_head(self.roi_stage(pooled))
        return logits.numpy(), deltas.numpy()[:, 4:]
