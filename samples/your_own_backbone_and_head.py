# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own backbone and head
#
# Two parts of one's own, a page of code together: a network of keras.applications as the backbone, and a
# head that says how each object is turned. The data set, training, detection, saved weights and pictures are
# the library's.
#
# More on each: [add a backbone](../docs/extending/backbone.md), [add a head](../docs/extending/head.md).

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import mask_rcnn
from mask_rcnn import config_io, model_zoo
from mask_rcnn.backbones import BACKBONES, from_keras_model
from mask_rcnn.config import BackboneConfig
from mask_rcnn.data.input_pipeline.ground_truth import GroundTruth
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.evaluation.coco_results import from_record
from mask_rcnn.heads import Head, register_head
from mask_rcnn.networks.inputs import feature_input

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# ## The data: leaves and sticks
#
# Drawn here, each turned by a random angle. A COCO file has no field for the angle, and needs none: it
# follows from the mask.


# %%
def outline(kind, center, angle, length):
    """Returns the polygon of an object, `[N, 2]` (x, y)."""
    if kind == "stick":
        return cv2.boxPoints((center, (length, 0.16 * length), angle))
    turn = np.linspace(0, 2 * np.pi, 40)
    leaf = 0.5 * length * np.stack([np.cos(turn), 0.45 * np.sin(turn) ** 3 + 0.05 * np.sin(turn)], axis=1)
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (leaf @ [[cosine, sine], [-sine, cosine]] + center).astype("float32")


def scene(random, size=128, cells=3):
    """Returns an image of the ground, `[size, size, 3]` uint8, and `[(class id, polygon)]`."""
    ground = cv2.resize(random.uniform(-1, 1, (16, 16)), (size, size), interpolation=cv2.INTER_CUBIC)
    image = np.array([120, 104, 84]) + 18 * ground[..., None] + random.normal(0, 6, (size, size, 1))
    objects = []
    for row, column in np.argwhere(random.random((cells, cells)) < 0.45):
        kind, hue = int(random.integers(2)), random.uniform(-20, 20, 3)
        center = tuple((np.array([column, row]) + 0.5 + random.uniform(-0.15, 0.15, 2)) * size / cells)
        polygon = outline(("leaf", "stick")[kind], center, random.uniform(0, 180), random.uniform(28, 44))
        cv2.fillPoly(image, [polygon.round().astype(int)], ([70, 130, 50], [170, 140, 95])[kind] + hue)
        objects.append((kind + 1, polygon))
    return image.clip(0, 255).astype("uint8"), objects


def write_data(folder, num_images, seed):
    """Writes images and a COCO json; returns a data set."""
    folder, images, annotations = Path(folder), [], []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for i in range(num_images):
        image, objects = scene(np.random.default_rng([seed, i]))
        images.append({"id": i, "file_name": f"{i}.png", "height": image.shape[0], "width": image.shape[1]})
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image[..., ::-1])
        for class_id, polygon in objects:
            (x, y), (width, height) = polygon.min(axis=0), np.ptp(polygon, axis=0)
            each = {"segmentation": [polygon.ravel().tolist()], "area": float(cv2.contourArea(polygon))}
            each |= {"bbox": [float(x), float(y), float(width), float(height)], "category_id": class_id}
            annotations.append(each | {"id": len(annotations) + 1, "image_id": i, "iscrowd": 0})
    categories = [{"id": 1, "name": "leaf"}, {"id": 2, "name": "stick"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "data.json").write_text(json.dumps(content))
    return mask_rcnn.read_coco(folder / "data.json", folder / "images")


train_set = write_data("runs/leaves/train", num_images=240, seed=1)
val_set = write_data("runs/leaves/val", num_images=40, seed=2)


# %%
def show(axes, picture, title=""):
    axes.imshow(picture)
    axes.set_title(title)
    axes.axis("off")


figure, panels = plt.subplots(1, 4, figsize=(9, 2.4))
for axes, record in zip(panels, train_set.images):
    show(axes, mask_rcnn.draw(record.path, from_record(record), train_set.categories, scores=False))

# %% [markdown]
# ## A backbone
#
# Every network of keras.applications is a backbone by its name, without any code:
# `backbone.name: keras.applications/MobileNetV2`, with its ImageNet weights. Here we want less of it: a third
# of the channels, and nothing behind a stride of 16. That is a function which is registered under a name.
# `from_keras_model` reads strides, stages and names from the graph. Batch normalizations keep means of their
# statistics for inference. This training is short, so these must follow quickly.


# %%
@BACKBONES.register("short_mobilenet")
def short_mobilenet(config):
    """MobileNetV2 with 0.35 of its channels; three maps of strides 4, 8 and 16."""
    network = keras.applications.MobileNetV2((None, None, 3), alpha=0.35, include_top=False, weights=None)
    outputs = [network.get_layer(f"block_{number}_add").output for number in (2, 5, 12)]
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # Keras's 0.999 is for trainings of many thousand steps
    grays = (127.5,) * 3  # it takes (pixel - 127.5) / 127.5
    return from_keras_model(network, config, outputs=outputs, mean=grays, std=grays)


own = short_mobilenet(BackboneConfig(name="short_mobilenet", norm="batch_norm", frozen_stages=0))
whole = keras.applications.MobileNetV2((None, None, 3), include_top=False, weights=None)
for name, network in (("MobileNetV2", whole), ("ours", own.model)):
    print(f"{name:12} {network.count_params():>9,} weights, {len(network.outputs)} maps")
print("strides:", own.strides)

# %% [markdown]
# ## A head
#
# The head predicts the direction of the long axis of each object. An axis that is turned by 180 degrees is
# the same axis. So the head predicts (cos 2a, sin 2a) for the angle a, which has no jump anywhere.
#
# First the ground truth: from the mask of each object in its box, after all transforms of the image. The two
# numbers follow from the second moments of the pixels.


# %%
def long_axis(mask, height, width):
    """Returns (cos 2a, sin 2a) of the long axis of a mask, which fills a box of this height and width."""
    y, x = np.nonzero(mask)
    y, x = (y - y.mean()) * height / mask.shape[0], (x - x.mean()) * width / mask.shape[1]
    direction = np.array([np.mean(x**2 - y**2), 2 * np.mean(x * y)])
    return direction / max(np.linalg.norm(direction), 1e-6)


class AxisGroundTruth(GroundTruth):
    """The axis of each object, `[G, 2]`."""

    needs_masks = True

    def spec(self):
        return {"gt_axis": ((self.config.input.max_instances, 2), "float32")}

    def __call__(self, sample):
        boxes = sample.output_boxes()[: sample.num_objects]
        sizes = boxes[:, 2:] - boxes[:, :2]  # (height, width)
        axes = [long_axis(mask, *size) for mask, size in zip(sample.output_masks(56), sizes)]
        return {"gt_axis": np.reshape(axes, (-1, 2))}


# %% [markdown]
# Then its settings, its network, its loss, and what it adds to the detections. `matched` says which object
# each positive RoI learns from.


# %%
@dataclass(frozen=True, kw_only=True)
class AxisConfig:
    """Settings of the head; `heads.axis` in a config."""

    pool_size: int = 7
    units: int = 64
    loss_weight: float = 1.0


@register_head("axis", AxisConfig, AxisGroundTruth)
class AxisHead(Head):
    """Predicts the direction of the long axis of an object, in degrees from the x axis, clockwise."""

    outputs = ("axis",)

    def build(self, feature_shape):
        features = feature_input(feature_shape, "pooled")
        x = keras.layers.Flatten(name="flatten")(features)
        x = keras.layers.Dense(self.settings.units, activation="relu", name="hidden")(x)
        return keras.Model(features, keras.layers.Dense(2, name="predictor")(x), name=self.part)

    def loss(self, outputs, positives, batch):
        positive = positives["positive"]  # [B, P]
        matched = ops.where(positive, positives["matched"], 0)[..., None]
        expected = ops.take_along_axis(batch["gt_axis"], matched, axis=1)  # [B, P, 2]
        found = ops.reshape(ops.cast(outputs, "float32"), [-1, positive.shape[1], 2])
        counted = ops.cast(positive, "float32")
        errors = ops.sum(ops.square(found - expected), axis=-1) * counted
        sums = self.settings.loss_weight * ops.sum(errors, axis=1), ops.sum(counted, axis=1)
        return {"axis_loss": ops.stack(sums, axis=-1)}  # [B, 2]

    def predict(self, outputs, boxes):
        return {"axis": ops.reshape(ops.cast(outputs, "float32"), [-1, boxes.shape[1], 2])}  # [B, D, 2]

    def decode(self, outputs, boxes, resize):
        cosine, sine = outputs["axis"].T
        return {"attributes": {"degrees": np.degrees(np.arctan2(sine, cosine)) / 2 % 180}}


# %% [markdown]
# ## A config that names both
#
# The recipe of the demo with the new parts. Nothing is pretrained, so that nothing is frozen. The three maps
# have the strides 4, 8 and 16, and the pyramid adds one of 32.

# %%
STEPS = 140
changes = {
    "num_classes": 2,
    "backbone.name": "short_mobilenet",
    "backbone.weights": None,
    "backbone.norm": "batch_norm",
    "backbone.frozen_stages": 0,
    "input.mean": None,
    "input.std": None,
    "anchors.strides": (4, 8, 16, 32),
    "anchors.sizes": (12, 24, 48, 96),
    "heads.axis": {},
    "train.steps": STEPS,
    "train.warmup_steps": STEPS // 10,
}
config = config_io.override_all(model_zoo.config("shapes"), changes)

# %% [markdown]
# The batches hold the new ground truth. Lines show it, after flips and resizing.


# %%
def draw_axis(axes, boxes, degrees, **style):
    """Draws a line through the middle of each box."""
    for (y1, x1, y2, x2), angle in zip(boxes, np.radians(degrees)):
        x, y, reach = (x1 + x2) / 2, (y1 + y2) / 2, 0.5 * np.hypot(y2 - y1, x2 - x1)
        shift = reach * np.array([np.cos(angle), np.sin(angle)])
        x, y = [x - shift[0], x + shift[0]], [y - shift[1], y + shift[1]]
        axes.plot(x, y, scalex=False, scaley=False, **style)


def degrees_of(axis):
    """Returns the angles, `[N]`, of `[N, 2]` (cos 2a, sin 2a)."""
    return np.degrees(np.arctan2(axis[:, 1], axis[:, 0])) / 2 % 180


batch = {name: value.numpy() for name, value in next(iter(training_dataset(train_set, config))).items()}
figure, panels = plt.subplots(1, 4, figsize=(9, 2.4))
for i, axes in enumerate(panels):
    is_object = batch["gt_class_ids"][i] > 0
    show(axes, batch["images"][i].astype("uint8"))
    boxes, axis = batch["gt_boxes"][i][is_object], batch["gt_axis"][i][: is_object.sum()]
    draw_axis(axes, boxes, degrees_of(axis), color="white", linewidth=2)

# %% [markdown]
# ## Train

# %%
run_dir = f"runs/leaves/{time.strftime('%H.%M.%S')}"
mask_rcnn.train(config, run_dir, train_data=train_set)
with open(f"{run_dir}/log.csv", newline="") as file:
    rows = list(csv.DictReader(file))
figure, panels = plt.subplots(1, 3, figsize=(9, 2.3))
for axes, name in zip(panels, ("loss", "mask_loss", "axis_loss")):
    values = [float(row[name]) for row in rows]
    axes.plot(values, color="lightgray")
    window = min(20, len(values))
    smooth = np.convolve(values, np.ones(window) / window, "valid")
    axes.plot(np.arange(window - 1, len(values)), smooth, color="tab:orange")
    axes.set(title=name.replace("_", " "), ylim=(0, None), xlabel="step")

# %% [markdown]
# ## Detect
#
# The weights file names both parts. It is loaded as any other, as long as the code above has run. What the
# head says is in `Detections.attributes`. Here are detections with a score of 0.8 or more: sticks in purple,
# leaves in green.

# %%
predictor = mask_rcnn.load(f"{run_dir}/final.weights.h5")
figure, panels = plt.subplots(2, 4, figsize=(9, 4.7))
for axes, record in zip(panels.ravel(), val_set.images):
    found = predictor.predict(record.path)
    found = found.select(found.scores >= 0.8)
    show(axes, mask_rcnn.draw(record.path, found, predictor.categories, boxes=False, labels=False))
    draw_axis(axes, found.boxes, found.attributes["degrees"], color="white", linewidth=2)

# %% [markdown]
# ## How exact are the angles?
#
# Every detection with a score of 0.5 or more is compared with the object that it overlaps most.

# %%
pairs = []
for record in val_set.images:
    found, truth = predictor.predict(record.path), from_record(record)
    found = found.select(found.scores >= 0.5)
    for i, degrees in enumerate(found.attributes["degrees"]):
        overlaps = [(found.full_mask(i) & truth.full_mask(j)).sum() for j in range(len(truth))]
        if overlaps and max(overlaps):
            mask = truth.full_mask(int(np.argmax(overlaps)))
            expected = degrees_of(long_axis(mask, *mask.shape)[None])[0]
            pairs.append((expected, degrees))
expected, predicted = np.reshape(pairs, (-1, 2)).T
errors = np.abs((predicted - expected + 90) % 180 - 90)
print(f"{len(errors)} objects; half of the errors are below {np.median(errors):.1f} degrees")

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3))
panels[0].plot([0, 180], [0, 180], color="lightgray")
panels[0].plot(expected, predicted, ".", color="tab:orange")
panels[0].set(xlabel="angle of the object, degrees", ylabel="predicted", xlim=(0, 180), ylim=(0, 180))
panels[1].hist(errors, np.arange(0, 91, 3), color="tab:blue")
panels[1].set(xlabel="error, degrees; by chance 45 on average", ylabel="objects")
for axes in panels:
    axes.grid(alpha=0.3)
