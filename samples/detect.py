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
# # Detect
#
# A photograph goes in; what is in it comes out: boxes, classes, scores and masks, in the photograph's own
# pixels.

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

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.model_zoo.pretrained import weights_file

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# ## Weights
#
# Published weights go by their names (`mask-rcnn models list`): they are fetched when they are first asked
# for, checked and kept. These know COCO's 80 classes, and are 177 MB.
#
# Without a network, as where this page was made, a detector of dried fruit takes their place. It is trained
# here: a minute on two cores, seven small photographs. Your own weights file does as well.

# %%
try:
    weights, photo = weights_file("torchvision/maskrcnn_resnet50_fpn_v2"), "biplane.jpg"
except OSError:
    weights, photo = Path("runs/fruits_nuts/final.weights.h5"), "fruits_nuts/images/00.jpg"
    if not weights.exists():
        mask_rcnn.train(config_io.from_yaml("fruits_nuts/config.yaml"), weights.parent)

# %% [markdown]
# ## Three lines

# %%
predictor = mask_rcnn.load(weights)
detections = predictor.predict(photo)
picture = mask_rcnn.draw(photo, detections.select(detections.scores >= 0.7), predictor.categories)


# %%
def show(axes, picture, title=""):
    axes.imshow(picture)
    axes.set_title(title)
    axes.axis("off")


figure, axes = plt.subplots(figsize=(8, 6))
show(axes, picture)

# %% [markdown]
# ## What `detections` holds
#
# All that the model finds at least 5 % probable, best first; `select` chooses. Boxes are yxyx; class id 1 is
# the first of `predictor.categories`. A mask is kept as the crop that holds it, and `full_mask(i)` is as
# large as the photograph.

# %%
sure = detections.select(detections.scores >= 0.7)
print(f"{len(detections)} detections, {len(sure)} with a score of 0.7 or more")
for i in range(min(len(sure), 12)):
    y1, x1, y2, x2 = sure.boxes[i]
    name, pixels = predictor.categories[sure.class_ids[i] - 1].name, sure.full_mask(i).sum()
    print(
        f"{name:10} {sure.scores[i]:4.0%}  y {y1:5.1f}..{y2:5.1f}  x {x1:5.1f}..{x2:5.1f}  {pixels:6,} pixels"
    )

# %% [markdown]
# With the masks one can do things: cut the objects out, or measure them.

# %%
image = mask_rcnn.read_image(photo)
figure, panels = plt.subplots(2, 4, figsize=(8, 4))
for i, axes in enumerate(panels.ravel()):
    axes.axis("off")
    if i < len(sure):
        (y, x), (height, width) = sure.mask_origins[i], sure.masks[i].shape
        cut = np.where(sure.masks[i][..., None], image[y : y + height, x : x + width], 255)
        show(axes, cut, predictor.categories[sure.class_ids[i] - 1].name)

# %% [markdown]
# ## Other pictures
#
# One color for each object instead of each class; masks alone; one class alone.

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 2.5))
options = {"color_by": "instance", "labels": False}
show(panels[0], mask_rcnn.draw(photo, sure, predictor.categories, **options), "by instance")
show(panels[1], mask_rcnn.draw(photo, sure, predictor.categories, boxes=False, **options), "masks alone")
first = sure.select(sure.class_ids == sure.class_ids[:1])
show(panels[2], mask_rcnn.draw(photo, first, predictor.categories, labels=False), "one class")

# %% [markdown]
# ## As COCO writes it
#
# A results file is a json list of such entries; the mask is a run-length code. The command line does all of
# this for folders and videos: `mask-rcnn detect FOLDER --weights FILE_OR_NAME --json found.json`.

# %%
for entry in to_coco(sure, image_id=1, categories=predictor.categories)[:1]:
    print(json.dumps(entry, indent=1))
