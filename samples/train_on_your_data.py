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
# # Train on your own data
#
# Any COCO json and a folder of photographs; first some synthetic shapes, so that everything runs as it is.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
import csv
import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import mask_rcnn
from mask_rcnn import config_io, model_zoo
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.data_check.check import check_dataset
from mask_rcnn.data_check.text_report import format_report
from mask_rcnn.evaluation.coco_results import from_record

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})


# %%
def show(axes, picture, title=""):
    axes.imshow(picture)
    axes.set_title(title)
    axes.axis("off")


# %% [markdown]
# ## The data
#
# A json with `images`, `annotations` and `categories`, as COCO's and as annotation tools export it: polygons
# or run lengths, crowds, images without objects. These two are of squares, circles and triangles, drawn here.
#
# **For your own data change the next cell, and nothing else.** Photographs of dried fruit are at hand to try
# it.

# %%
train_json, train_images = write_shapes("runs/shapes/train", num_images=120, size=(192, 192), seed=0)
val_json, val_images = write_shapes("runs/shapes/val", num_images=16, size=(192, 192), seed=1)
recipe, steps, side = "shapes", 240, 128

# train_json, train_images = "fruits_nuts/train.json", "fruits_nuts/images"
# val_json, val_images = "fruits_nuts/val.json", "fruits_nuts/images"
# recipe, steps, side = "fine_tune", 600, 240

# %% [markdown]
# ### What is in it
#
# The check counts, and finds what is wrong: damaged files, boxes and masks that do not fit, objects and
# images that are there twice, objects without an anchor. (`mask-rcnn data check --annotations FILE --images
# FOLDER` prints the same; `--html FILE` writes a page with pictures.)

# %%
train_set, val_set = mask_rcnn.read_coco(train_json, train_images), mask_rcnn.read_coco(val_json, val_images)
print(format_report(check_dataset(train_set, model_zoo.config(recipe), recipe)))

# %% [markdown]
# ### How it looks
#
# Do the outlines fit? Look before training.

# %%
figure, panels = plt.subplots(2, 4, figsize=(9, 4.7))
for axes, record in zip(panels.ravel(), train_set.images):
    picture = mask_rcnn.draw(record.path, from_record(record), train_set.categories, scores=False)
    show(axes, picture, record.path.name)

# %% [markdown]
# ## The recipe
#
# A recipe is a whole experiment (`mask-rcnn config list`). Its fields are changed by their dotted names; each
# one is explained in `mask_rcnn/config`.

# %%
changes = {
    "data.train_annotations": str(train_json),
    "data.train_images": str(train_images),
    "data.val_annotations": str(val_json),
    "data.val_images": str(val_images),
    "input.short_side": side,
    "input.train_short_sides": (side,),
    "train.steps": steps,
    "train.milestones": (int(0.8 * steps),),
}
config = config_io.override_all(model_zoo.config(recipe), changes)

# %% [markdown]
# ### What the network gets
#
# The first batch, resized, flipped at random and padded. Masks travel as crops of their boxes; here they are
# put back.

# %%
batch = next(iter(training_dataset(train_set, config)))
print({name: tuple(value.shape) for name, value in batch.items()})
num_images = len(batch["images"])
figure, panels = plt.subplots(1, num_images, figsize=(9, 9 / num_images + 0.2), squeeze=False)
arrays = (batch[name].numpy() for name in ("images", "gt_boxes", "gt_masks"))
for axes, image, boxes, masks in zip(panels[0], *arrays):
    show(axes, image.astype("uint8"), f"{np.count_nonzero(boxes[:, 3])} objects")
    for (y1, x1, y2, x2), mask in zip(boxes[boxes[:, 3] > 0], masks):
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="yellow"))
        axes.imshow(np.ma.masked_equal(mask, 0), extent=(x1, x2, y2, y1), cmap="autumn", alpha=0.5)
    axes.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))

# %% [markdown]
# ## Train
#
# The folder gets the resolved config, the log, checkpoints to go on from, scores, pictures, and the weights.
# A run of some hours is better started in a terminal: `mask-rcnn train --config RECIPE --run FOLDER
# --train-annotations ...`.

# %%
run_dir = f"runs/{time.strftime('%Y-%m-%d_%H.%M.%S')}"  # each run has a folder of its own
metrics = mask_rcnn.train(config, run_dir)

# %% [markdown]
# ### The losses
#
# Gray is each step, in color the mean of 20. (`loss.png` in the folder is such a picture too.)

# %%
with open(f"{run_dir}/log.csv", newline="") as file:
    rows = list(csv.DictReader(file))
names = ["loss", *(name for name in rows[0] if name.endswith("_loss"))]
figure, panels = plt.subplots(2, 3, figsize=(9, 4), sharex=True)
for axes, name in zip(panels.ravel(), names):
    values = np.array([float(row[name]) for row in rows])
    axes.plot(values, color="lightgray")
    window = min(20, len(values))
    axes.plot(np.arange(window, len(values) + 1), np.convolve(values, np.ones(window) / window, "valid"))
    axes.set(title=name.replace("_", " "), ylim=(0, None))
    axes.grid(alpha=0.3)

# %% [markdown]
# ### The score
#
# COCO's average precision (AP) of boxes and masks, on photographs that training has not seen: 1 is perfect.
# The table above is `metrics.table()`; single numbers are at hand too.

# %%
print(f"masks: AP {metrics['segm']['AP']:.3f}, AP50 {metrics['segm']['AP50']:.3f}")
for score in metrics.classes:
    print(f"  {score.name}, {score.num_objects} objects: AP {score.ap['segm']:.3f}")

# %% [markdown]
# ### The pictures
#
# Above what people said, below what the model says, where it is at least 50 % sure.

# %%
predictor = mask_rcnn.load(f"{run_dir}/best.weights.h5")
figure, panels = plt.subplots(2, 4, figsize=(9, 4.6))
for axes in panels.ravel():
    axes.axis("off")
for (top, bottom), record in zip(panels.T, val_set.images):
    show(top, mask_rcnn.draw(record.path, from_record(record), val_set.categories, scores=False))
    found = predictor.predict(record.path)
    show(bottom, mask_rcnn.draw(record.path, found.select(found.scores >= 0.5), predictor.categories))

# %% [markdown]
# ## What next
#
# - More steps: `steps` above.
# - Larger photographs: `side`, and the other fields of `input`.
# - A stronger network: the recipe `mask_rcnn_resnet50_fpn`, on a GPU; or go on from published weights:
#   `"train.init_weights": "torchvision/maskrcnn_resnet50_fpn_v2"`.
# - Use it: [detect.ipynb](detect.ipynb). Look inside: [inspect_model.ipynb](inspect_model.ipynb).
#   Take it elsewhere: [export_and_compare.ipynb](export_and_compare.ipynb).
