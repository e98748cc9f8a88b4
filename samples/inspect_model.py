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
# # Inspect the model
#
# Every stage between a photograph and its masks, as a picture: anchors, what the region proposal network
# (RPN) should say and what it says, proposals before and after non-maximum suppression, RoIAlign with numbers
# that one can check by hand, the two heads, masks. All tensors are the library's own: a model made with
# `intermediates=True` gives out what lies between.
#
# Boxes are yxyx, pixels of the resized image; class 0 is background, and padding.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.patches import Rectangle

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.model import inference_model
from mask_rcnn.ops.boxes import clip, decode_deltas, image_windows, iou
from mask_rcnn.ops.matching import IGNORED, NEGATIVE, POSITIVE, match
from mask_rcnn.ops.roi_align import pyramid_levels, roi_align
from mask_rcnn.postprocessing.paste import paste_masks
from mask_rcnn.structures import Detections
from mask_rcnn.targets import rpn_targets
from mask_rcnn.visualization.drawing import palette_color

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# Any weights do. These know figs, dates and hazelnuts: a minute of training on the seven photographs beside
# this notebook, unless another notebook has done it already.

# %%
WEIGHTS = Path("runs/fruits_nuts/final.weights.h5")
if not WEIGHTS.exists():
    mask_rcnn.train(config_io.from_yaml("fruits_nuts/config.yaml"), WEIGHTS.parent)
predictor = mask_rcnn.load(WEIGHTS)
config = config_io.override_all(predictor.config, {"train.batch_size": 1, "input.horizontal_flip": 0.0})


# %%
def show(axes, image, title="", **style):
    axes.imshow(image, **style)
    axes.set_title(title)
    axes.axis("off")


def outline(axes, boxes, edge, **style):
    for y1, x1, y2, x2 in np.asarray(boxes):
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, **style))


# %% [markdown]
# ## What goes in
#
# A batch of training, of one photograph that the model was not trained on: resized, padded to multiples of 32
# (the black strip), with the objects that people have outlined. Masks travel as crops of their boxes.

# %%
data = mask_rcnn.read_coco("fruits_nuts/val.json", "fruits_nuts/images")
batch = next(iter(training_dataset(data, config)))
for name, value in batch.items():
    print(f"{name:14} {value.dtype.name:8} {value.shape}")
image = batch["images"][0].numpy().astype("uint8")
objects = batch["gt_boxes"][0][batch["gt_class_ids"][0] > 0]  # [G, 4]

# %%
figure, panels = plt.subplot_mosaic([["image"] * 3 + [0, 1, 2], ["image"] * 3 + [3, 4, 5]], figsize=(9, 3.3))
show(panels["image"], image, f"{len(objects)} objects in {image.shape[0]} x {image.shape[1]} pixels")
outline(panels["image"], objects, "yellow")
for i in range(6):
    show(panels[i], batch["gt_masks"][0, i], f"mask {i}", cmap="gray")

# %% [markdown]
# ## What comes out, and what lies between

# %%
model = inference_model(predictor.parts, config, intermediates=True)
outputs = model({name: batch[name] for name in ("images", "image_sizes")})
for name, value in outputs.items():
    print(f"{name:16}", [tuple(x.shape) for x in value] if isinstance(value, list) else tuple(value.shape))

# %% [markdown]
# ### The feature pyramid
#
# One photograph at five scales; brighter is a stronger feature, over all channels.

# %%
figure, panels = plt.subplots(1, 5, figsize=(9, 1.7))
for level, axes in enumerate(panels, start=2):
    features = outputs[f"P{level}"][0]  # [h, w, C]
    strength = tf.norm(features, axis=-1)
    show(axes, strength, f"P{level}: {features.shape[0]} x {features.shape[1]}", cmap="magma")

# %% [markdown]
# ### Anchors
#
# In each cell of each map stand three boxes of one size: wide, square, high. Dots are cells; the boxes are
# those of the cell in the middle. What is larger than the image is drawn as far as it reaches.

# %%
figure, panels = plt.subplots(1, 5, figsize=(9, 1.9))
for axes, level, anchors, stride in zip(panels, range(2, 7), outputs["anchors"], config.anchors.strides):
    rows, columns = outputs[f"P{level}"].shape[1:3]
    here = tf.reshape(anchors, [rows, columns, -1, 4])[rows // 2, columns // 2]  # [A, 4]
    show(axes, image, f"P{level}: {len(anchors):,} anchors", alpha=0.5)
    y, x = np.mgrid[:rows, :columns] * stride
    axes.plot(x.ravel(), y.ravel(), "k.", markersize=0.15 * stride**0.5, alpha=0.6)
    outline(axes, here, "tab:red", linewidth=1.2)
    axes.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))

# %% [markdown]
# ### What the RPN should say
#
# An anchor that overlaps an object by an IoU of 0.7 is positive, and so is the best one of each object. Below
# 0.3 it is negative. Between them it counts as neither. The loss sees a random sample of the positives and
# the negatives.

# %%
rpn = config.rpn
anchors = tf.concat(outputs["anchors"], axis=0)  # [A, 4]
thresholds = (rpn.negative_iou, rpn.positive_iou)
matched, labels = match(
    anchors[None], batch["gt_boxes"], batch["gt_class_ids"], thresholds=thresholds, keep_best=True
)
fraction = rpn.positive_fraction
sample = rpn_targets(
    anchors,
    batch,
    samples=rpn.samples,
    positive_fraction=fraction,
    positive_iou=rpn.positive_iou,
    negative_iou=rpn.negative_iou,
)
indices, is_positive = sample["indices"][0], sample["positive"][0]
negatives = tf.boolean_mask(anchors, (labels[0] == NEGATIVE))
for name, label in (("positive", POSITIVE), ("ignored", IGNORED), ("negative", NEGATIVE)):
    sampled = tf.math.count_nonzero(tf.gather(labels[0], indices) == label)
    print(f"{name:9} {tf.math.count_nonzero(labels[0] == label):6,} anchors, {sampled:4} in the sample")

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 2.6))
groups = {
    "positive": (anchors[labels[0] == POSITIVE], "lime"),
    "ignored": (anchors[labels[0] == IGNORED], "orange"),
    "negative, in the sample": (tf.gather(anchors, indices[~is_positive]), "deepskyblue"),
}
for axes, (name, (boxes, hue)) in zip(panels, groups.items()):
    show(axes, image, f"{name}: {len(boxes)}")
    outline(axes, boxes, hue, linewidth=0.6)

# %% [markdown]
# A positive anchor is also told how to become its object: by (dy, dx, dh, dw), shifts in units of its size
# and logarithms of the growth. Decoding these targets gives the objects again.

# %%
positives = tf.gather(anchors, indices[is_positive])
deltas = sample["deltas"][0][is_positive]
decoded = decode_deltas(deltas, positives)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.4))
show(panels[0], image, "positive anchors and their objects")
outline(panels[0], positives, "lime", linewidth=0.5, linestyle="--")
outline(panels[0], decoded, "yellow", linewidth=1.2)
panels[1].boxplot(deltas, tick_labels=["dy", "dx", "dh", "dw"])
panels[1].set_title("targets of the RPN's deltas")
panels[1].grid(alpha=0.3)

# %% [markdown]
# ### What the RPN says
#
# For each cell the best of its three anchors, as a probability that an object is there.

# %%
figure, panels = plt.subplots(1, 5, figsize=(9, 1.7))
for level, axes, logits in zip(range(2, 7), panels, outputs["rpn_logits"]):
    show(axes, image, f"P{level}: at most {tf.reduce_max(tf.sigmoid(logits)):.0%}")
    height, width = np.array(logits.shape[1:3]) * config.anchors.strides[level - 2]
    best = tf.reduce_max(tf.sigmoid(logits[0]), axis=-1)
    axes.imshow(best, extent=(0, width, height, 0), cmap="inferno", vmin=0, vmax=1, alpha=0.75)
    axes.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))

# %% [markdown]
# ### Proposals before and after non-maximum suppression
#
# Anchors moved by their deltas and cut at the border are the candidates. One that overlaps a better one of
# its level by an IoU of more than 0.7 is suppressed; the best of all levels are the proposals.

# %%
logits = tf.concat([tf.reshape(x, [-1]) for x in outputs["rpn_logits"]], axis=0)  # [A]
deltas = tf.concat([tf.reshape(x, [-1, 4]) for x in outputs["rpn_deltas"]], axis=0)  # [A, 4]
candidates = clip(decode_deltas(deltas, anchors)[None], image_windows(batch["image_sizes"]))[0]
best = tf.gather(candidates, tf.argsort(logits, direction="DESCENDING")[:100])
proposals = outputs["proposals"][0][outputs["proposals_valid"][0]]
is_kept = tf.reduce_max(iou(best, proposals), axis=1) > 0.999
suppressed = np.sum(~is_kept)
print(f"{len(candidates):,} candidates, {len(proposals)} proposals; {suppressed} of the best 100 suppressed")

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 2.6))
groups = {
    "the best 100 candidates": best,
    "suppressed": best[~is_kept],
    "the best 30 proposals": proposals[:30],
}
for axes, (name, boxes) in zip(panels, groups.items()):
    show(axes, image, name)
    outline(axes, boxes, "tomato" if name == "suppressed" else "cyan", linewidth=0.7)

# %% [markdown]
# ### RoIAlign, by hand
#
# A map of 5 x 5 pixels whose values are ten times the row plus the column: at the point (y, x) the map is 10
# (y − ½) + (x − ½), for the center of the first pixel is at (½, ½). The box from (1, 1) to (4, 4) is cut into
# 2 x 2 bins of 1.5 x 1.5 pixels, and each bin is the mean of four points. The map is linear, so the mean is
# the value in the middle of the bin: at (1.75, 1.75) it is 12.5 + 1.25 = 13.75.

# %%
grid = 10.0 * np.arange(5)[:, None] + np.arange(5)  # [5, 5]
box = np.array([[1.0, 1.0, 4.0, 4.0]], "float32")
features = grid[None, :, :, None].astype("float32")  # [1, 5, 5, 1]
pooled = roi_align(features, box, image_indices=[0], scale=1.0, pool_size=2)[0, ..., 0].numpy()
middles = np.array([1.75, 3.25])
by_hand = 10 * (middles[:, None] - 0.5) + (middles - 0.5)
np.testing.assert_allclose(pooled, by_hand, rtol=1e-6)
shifted = roi_align(features, box, [0], scale=1.0, pool_size=2, aligned=False)[0, ..., 0].numpy()
print("aligned:     ", *pooled.ravel(), "\nnot aligned: ", *shifted.ravel(), " half a pixel off: 5 + ½ more")

# %%
figure, axes = plt.subplots(figsize=(3.6, 3.6))
axes.imshow(grid, extent=(0, 5, 5, 0), cmap="Blues", vmax=80)
axes.set_title("values, bins, samples, and what is pooled")
for y, x in np.ndindex(5, 5):
    axes.text(x + 0.05, y + 0.08, f"{grid[y, x]:.0f}", va="top", fontsize=8, color="dimgray")
outline(
    axes, [(1 + i * 1.5, 1 + j * 1.5, 2.5 + i * 1.5, 2.5 + j * 1.5) for i, j in np.ndindex(2, 2)], "tab:red"
)
points = 1 + 3 * (np.arange(4) + 0.5) / 4
axes.plot(*map(np.ravel, np.meshgrid(points, points)), "r.", markersize=5)
for i, j in np.ndindex(2, 2):
    axes.text(middles[j], middles[i], f"{pooled[i, j]:.2f}", ha="center", va="center", fontsize=11)

# %% [markdown]
# ### RoIs of the photograph
#
# Large boxes are pooled from coarse maps, small ones from fine maps (FPN, equation 1): less than 112 pixels,
# as nearly all here, from P2. All become 7 x 7.

# %%
levels = pyramid_levels(proposals, num_levels=4).numpy() + 2
print("proposals of each level:", {f"P{level}": int((levels == level).sum()) for level in range(2, 6)})
figure, panels = plt.subplots(2, 6, figsize=(9, 3.2))
for i, (top, bottom) in enumerate(panels.T):
    y1, x1, y2, x2 = np.round(proposals[i]).astype(int)
    show(top, image[y1:y2, x1:x2], f"P{levels[i]}")
    show(bottom, tf.norm(outputs["box_pooled"][i], axis=-1), cmap="magma")

# %% [markdown]
# ### The box head: which class, and where exactly
#
# Each row is one of the best proposals. On the right dashed boxes are proposals, full ones what the head
# makes of them, for the class that it finds most probable.

# %%
scores = tf.nn.softmax(outputs["class_logits"]).numpy()  # [N, K + 1]
deltas = tf.reshape(outputs["box_deltas"], [len(scores), -1, 4])  # [N, K + 1, 4]
best = scores.argmax(axis=-1)
weights = config.box_head.delta_weights
refined = decode_deltas(tf.gather(deltas, best, batch_dims=1), outputs["proposals"][0], weights).numpy()
names = ["background", *(category.name for category in predictor.categories)]
colors = [np.divide(palette_color(i), 255) for i in range(len(names))]
figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 2))
panels[0].imshow(scores[:20], aspect="auto", cmap="viridis", vmin=0, vmax=1)
panels[0].set(title="class scores of 20 proposals", ylabel="best first", xticks=range(len(names)), yticks=[])
panels[0].set_xticklabels(names, rotation=30)
show(panels[1], image, "the same, if they are an object")
for i in np.flatnonzero(best[:20]):
    outline(panels[1], outputs["proposals"][0][i : i + 1], colors[best[i]], linewidth=0.8, linestyle="--")
    outline(panels[1], refined[i : i + 1], colors[best[i]], linewidth=1.6)

# %% [markdown]
# ### Detections
#
# Boxes with a score of more than 0.05, without those that overlap a better one of their class (IoU 0.5).

# %%
found = int(tf.math.count_nonzero(outputs["class_ids"][0]))
boxes, class_ids = outputs["boxes"][0, :found].numpy(), outputs["class_ids"][0, :found].numpy()
sure = outputs["scores"][0, :found].numpy() >= 0.7
figure, panels = plt.subplots(1, 2, figsize=(9, 3.3))
for axes, rows, title in ((panels[0], ~sure, "with less than 0.7"), (panels[1], sure, "with 0.7 or more")):
    show(axes, image, f"{rows.sum()} {title}")
    for box, class_id in zip(boxes[rows], class_ids[rows]):
        outline(axes, [box], colors[class_id], linewidth=1.2)

# %% [markdown]
# ### Masks
#
# The mask head looks at 14 x 14 features of each detection and gives 28 x 28 probabilities, of its class
# only. They are stretched over the box and cut at one half: pasting.

# %%
size = image.shape[:2]
crops, origins = paste_masks(outputs["masks"][0, :found].numpy(), boxes, size, method=config.mask_head.paste)
figure, panels = plt.subplots(3, 6, figsize=(9, 4.8))
for axes in panels.ravel():
    axes.axis("off")
for (top, middle, bottom), i in zip(panels.T, range(found)):
    show(top, outputs["masks"][0, i], f"{names[class_ids[i]]}, 28 x 28", cmap="magma", vmin=0, vmax=1)
    show(middle, crops[i], f"{crops[i].shape[0]} x {crops[i].shape[1]} pixels", cmap="gray", vmin=0, vmax=1)
    (y, x), (height, width) = origins[i], crops[i].shape
    show(bottom, image[y : y + height, x : x + width] * crops[i][..., None])

# %% [markdown]
# ### All together

# %%
detections = Detections(
    boxes, outputs["scores"][0, :found], class_ids, size, masks=crops, mask_origins=origins
)
figure, axes = plt.subplots(figsize=(7, 5.5))
show(axes, mask_rcnn.draw(image, detections.select(sure), predictor.categories))
