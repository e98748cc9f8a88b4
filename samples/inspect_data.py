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
# # Inspect data
#
# What a data set holds, whether its outlines fit, whether the anchors of a model fit its objects, what is
# wrong with it, and how masks travel to the network. There is no model yet: all of it takes a few seconds.
#
# Boxes are yxyx, pixels. Class 0 is the background, so that class `i` is `categories[i - 1]`.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.input_pipeline.trainable import resized_boxes
from mask_rcnn.data.masks import mask_in_box
from mask_rcnn.data_check.anchor_fit import anchor_ious
from mask_rcnn.data_check.check import check_coco
from mask_rcnn.data_check.text_report import format_report
from mask_rcnn.evaluation.coco_results import from_record
from mask_rcnn.ops.anchors import base_anchors
from mask_rcnn.postprocessing.paste import paste_mask
from mask_rcnn.visualization.drawing import palette_color

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})


# %%
def show(axes, picture, title="", **style):
    axes.imshow(picture, **style)
    axes.set_title(title)
    axes.axis("off")


def outline(axes, box, **style):
    y1, x1, y2, x2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **style))


# %% [markdown]
# ## What is in it
#
# A COCO json and a folder of photographs. **For your own data change the next cell.** Other formats, such
# as labelme, CVAT and Label Studio, become a COCO json with `mask-rcnn data convert`.

# %%
annotations, images = "fruits_nuts/train.json", "fruits_nuts/images"
config = config_io.from_yaml("fruits_nuts/config.yaml")

data = mask_rcnn.read_coco(annotations, images)
arrays = arrays_of(data)  # all annotations of the set, one row each
names = [category.name for category in data.categories]
colors = [np.divide(palette_color(class_id), 255) for class_id in range(1, len(names) + 1)]
print(f"{len(data)} photographs, {len(arrays.ids)} objects of {len(names)} classes: {', '.join(names)}")
print(*data.warnings or ["nothing had to be repaired"], sep="\n")

# %% [markdown]
# ## How it looks
#
# Do the outlines fit, and is anything missing? Look before training: an object without an outline teaches
# the model not to find it.

# %%
figure, panels = plt.subplots(2, 4, figsize=(9, 4))
for axes in panels.ravel():
    axes.axis("off")
for axes, record in zip(panels.ravel(), data.images):
    picture = mask_rcnn.draw(record.path, from_record(record), data.categories, scores=False, labels=False)
    show(axes, picture, f"{record.path.name}: {len(record.annotations)} objects")
for name, color in zip(names, colors):
    panels[-1, -1].plot([], [], "s", color=color, label=name)
panels[-1, -1].legend(loc="center", frameon=False)

# %% [markdown]
# ## Numbers
#
# Which classes are rare, how large objects are, how long, and where they lie. Sizes are those that the
# network sees, in the resized photograph.

# %%
boxes = resized_boxes(data, arrays, config.input, short_side=config.input.short_side)  # [N, 4]
height, width = (boxes[:, 2:] - boxes[:, :2]).T
middle = (arrays.boxes[:, :2] + arrays.boxes[:, 2:]) / 2
sizes = np.array([(data.images[image].height, data.images[image].width) for image in arrays.images])
figure, panels = plt.subplots(1, 4, figsize=(9.5, 2.4))
panels[0].bar(names, np.bincount(arrays.class_ids, minlength=len(names) + 1)[1:], color=colors)
panels[0].set_title("objects of each class")
panels[0].tick_params("x", rotation=30)
panels[1].hist(np.sqrt(height * width), bins=12, color="steelblue")
panels[1].set(title="size, pixels", xlabel="square root of the area")
panels[2].hist(np.log2(height / width), bins=12, color="steelblue")
panels[2].set(title="shape", xlabel="wide    height / width    high", xticks=[-1, 0, 1])
panels[2].set_xticklabels(["1/2", "1", "2"])
for class_id, color in enumerate(colors, start=1):
    y, x = (middle / sizes)[arrays.class_ids == class_id].T
    panels[3].plot(x, y, ".", color=color)
panels[3].set(title="middles of the objects", xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])

# %% [markdown]
# ## Do the anchors fit?
#
# Each level of the pyramid has anchors of one size, in three shapes, in each cell of its grid. An object
# should have an anchor with an IoU of 0.5 or more: from there the network learns to move the box. The IoU
# is that with the best anchor of the nearest cell.

# %%
anchors = config.anchors
ious = anchor_ious(
    boxes, sizes=anchors.sizes, ratios=anchors.ratios, strides=anchors.strides
)  # [N, levels, ratios]
best = ious.max(axis=(1, 2))
level = ious.max(axis=2).argmax(axis=1)
figure, panels = plt.subplots(1, 2, figsize=(9, 2.4))
panels[0].hist(best, bins=np.arange(0.3, 1.01, 0.05), color="steelblue")
panels[0].axvline(0.5, color="tab:red", linestyle="--")
panels[0].set_title(f"IoU with the best anchor: {np.mean(best >= 0.5):.0%} of the objects have 0.5 or more")
panels[1].bar([str(size) for size in anchors.sizes], np.bincount(level, minlength=len(anchors.sizes)))
panels[1].set(title="objects of each anchor size", xlabel="pixels")
# %% [markdown]
# The objects that fit worst (yellow), and their best anchor (dashed).

# %%
figure, panels = plt.subplots(1, 4, figsize=(9, 2.5))
for axes, row in zip(panels, best.argsort()):
    record = data.images[arrays.images[row]]
    image = mask_rcnn.read_image(record.path)
    scale = arrays.boxes[row, 2] / boxes[row, 2]  # of the photograph to the resized one
    ratio = ious[row, level[row]].argmax()
    stride = anchors.strides[level[row]]
    cell = np.round((boxes[row, :2] + boxes[row, 2:]) / 2 / stride) * stride
    anchor = base_anchors(anchors.sizes[level[row]], anchors.ratios)[ratio] + np.tile(cell, 2)
    show(axes, image, f"IoU {best[row]:.2f}, anchor of {anchors.sizes[level[row]]}")
    outline(axes, arrays.boxes[row], edgecolor="yellow", linewidth=2)
    outline(axes, anchor * scale, edgecolor="red", linewidth=1.5, linestyle="--")
    y, x = middle[row]
    side = 1.2 * max(arrays.boxes[row, 2:] - arrays.boxes[row, :2])
    axes.set(xlim=(x - side, x + side), ylim=(y + side, y - side))

# %% [markdown]
# ## How masks travel
#
# Polygons are drawn into a small grid over the box of each object, so that a hundred objects of a large
# photograph fit into memory. The grid of the data is 112 x 112. The mask head learns 28 x 28, which is then
# stretched over the box and cut at one half. What is lost is little for compact objects, and more for thin
# ones.

# %%
record = data.images[0]
image = mask_rcnn.read_image(record.path)
truth = from_record(record)
order = np.argsort([-mask.size for mask in truth.masks])[:4]
figure, panels = plt.subplots(3, 4, figsize=(9, 6))
for column, i in zip(panels.T, order):
    y1, x1, y2, x2 = truth.boxes[i].astype(int)
    (y, x), crop = truth.mask_origins[i], truth.masks[i]
    show(column[0], image[y1:y2, x1:x2], names[truth.class_ids[i] - 1])
    for axes, side in zip(column[1:], (112, 28)):
        grid = mask_in_box(record.annotations[i].segmentation, truth.boxes[i], side)
        pasted, (top, left) = paste_mask(grid.astype("float32"), truth.boxes[i], truth.image_size)
        whole = np.zeros(truth.image_size, bool)
        whole[top : top + pasted.shape[0], left : left + pasted.shape[1]] = pasted
        iou = (whole & truth.full_mask(i)).sum() / (whole | truth.full_mask(i)).sum()
        show(axes, grid, f"{side} x {side}: IoU {iou:.3f}", cmap="gray", aspect=(y2 - y1) / (x2 - x1))

# %% [markdown]
# ## What can be wrong
#
# The check reads the json and decodes all photographs. `mask-rcnn data check --annotations FILE --images
# FOLDER --html report.html` prints the same, and writes a page with pictures.

# %%
report, _ = check_coco({"train": (annotations, images)}, config, "fruits_nuts/config.yaml")
print(format_report(report))

# %% [markdown]
# Now a json with mistakes that are common in practice: an object that was drawn twice, a box that is not
# that of its outline, a polygon that crosses itself, and a class that nobody used.

# %%
content = json.loads(Path(annotations).read_text())
first, second, third, *_ = content["annotations"]
content["annotations"].append({**first, "id": 10_001})
second["bbox"] = [side * 0.5 for side in second["bbox"]]
points = np.reshape(third["segmentation"][0], (-1, 2))
middle_point = len(points) // 2
points[[0, middle_point]] = points[[middle_point, 0]]
third["segmentation"][0] = points.ravel().tolist()
content["categories"].append({"id": 99, "name": "walnut"})
Path("runs").mkdir(exist_ok=True)
Path("runs/mistakes.json").write_text(json.dumps(content))
report, _ = check_coco({"train": ("runs/mistakes.json", images)}, config, "fruits_nuts/config.yaml")
for finding in report.findings:
    print(f"{finding.severity}: {finding.title} ({finding.count})")

# %% [markdown]
# `mask-rcnn data check --fix repaired.json` writes a copy in which what is clear was repaired. Then look at
# what training sees: [augmentations](augmentations.ipynb).
