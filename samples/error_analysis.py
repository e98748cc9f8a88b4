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
# # Error analysis
#
# Average precision says how good a model is. This notebook looks at why it is not better: which kinds of
# errors cost how much, whether scores are probabilities, which objects and which images are hard, and
# whether a change helps or chance does.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
import collections
import dataclasses
import itertools
import json
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.evaluation.coco_evaluation import read_detections
from mask_rcnn.evaluation.coco_results import from_record
from mask_rcnn.evaluation.model_evaluation import evaluate_model
from mask_rcnn.report.analysis import TITLES, RunDetections, analyze_run
from mask_rcnn.report.errors import ERROR_TYPES
from mask_rcnn.report.pictures import COLORS, Shapes, draw_errors
from mask_rcnn.report.write import write_report
from mask_rcnn.structures import encode_crop

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# ## A model and images that it does not know
#
# The model knows figs, dates and hazelnuts: a minute of training on seven photographs, unless another
# notebook has done it already. Two photographs were kept from it. **For your own model change these two
# cells**: your weights, your validation json and its folder of images.

# %%
WEIGHTS = Path("runs/fruits_nuts/final.weights.h5")
if not WEIGHTS.exists():
    mask_rcnn.train(config_io.from_yaml("fruits_nuts/config.yaml"), WEIGHTS.parent)
predictor = mask_rcnn.load(WEIGHTS)

# %% [markdown]
# Two images are too few for curves. So each of them is shown as other cameras could have taken it: turned,
# dark, blurred, and noisy. The outlines turn with the image.

# %%
CAMERAS = {
    "plain": lambda pixels: pixels,
    "dark": lambda pixels: 0.35 * pixels,
    "blurred": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2.5),
    "noisy": lambda pixels: pixels + np.random.default_rng(0).normal(0, 30, pixels.shape),
}


def turned_objects(record, turn):
    """Yields COCO annotations of the objects of a record, turned by `turn` quarters."""
    objects = from_record(record)
    for i, class_id in enumerate(objects.class_ids.tolist()):
        mask = np.rot90(objects.full_mask(i), turn)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
        each = {"bbox": [int(number) for number in box], "area": int(mask.sum()), "iscrowd": 0}
        yield {**each, "category_id": class_id, "segmentation": encode_crop(mask, (0, 0), mask.shape)}


def write_cameras(dataset, folder):
    """Writes each image of a data set as each camera sees it, with a COCO json; returns the paths of both."""
    images, annotations = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for record, camera, turn in itertools.product(dataset.images, CAMERAS, range(4)):
        pixels = np.rot90(mask_rcnn.read_image(record.path), turn).astype("float32")
        name = f"{camera}_{turn}_{record.path.stem}.png"
        Image.fromarray(CAMERAS[camera](pixels).clip(0, 255).astype("uint8")).save(folder / name)
        height, width = pixels.shape[:2]
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        for each in turned_objects(record, turn):
            annotations.append({"id": len(annotations) + 1, "image_id": len(images), **each})
    categories = [{"id": i, "name": each.name} for i, each in enumerate(dataset.categories, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "objects.json").write_text(json.dumps(content))
    return folder / "objects.json", folder


kept = mask_rcnn.read_coco("fruits_nuts/val.json", "fruits_nuts/images")
val_json, val_images = write_cameras(kept, Path("runs/errors/val"))
val_set = mask_rcnn.read_coco(val_json, val_images)
figure, panels = plt.subplots(1, 4, figsize=(9, 2))
for axes, record in zip(panels, val_set.images[:16:5]):
    axes.imshow(mask_rcnn.draw(record.path, from_record(record), val_set.categories, labels=False))
    axes.set_title(record.path.stem)
    axes.axis("off")

# %% [markdown]
# ## Detect and score

# %%
metrics, found = evaluate_model(predictor, val_set, val_json)
print(metrics.table())

# %% [markdown]
# ## The report
#
# `found` is the content of a COCO results file. The report needs nothing else, so it explains the detections
# of any system. The page `index.html` has all charts and pictures of this notebook and more. On the command
# line: `mask-rcnn evaluate --weights FILE --annotations JSON --images FOLDER --report FOLDER`.

# %%
entries, content, _ = read_detections(found, val_json)
detected = RunDetections(
    name="one view",
    content=content,
    entries=entries,
    image_ids=[record.id for record in val_set.images],
    iou_types=("bbox", "segm"),
    max_detections=100,
)
paths = {record.id: record.path for record in val_set.images}
numbers = write_report(
    "runs/errors/report", detected, metrics=metrics, pixels_of=lambda id: mask_rcnn.read_image(paths[id])
)
masks = numbers["evaluations"]["segm"]
print("page: runs/errors/report/index.html; numbers of the masks:", *masks, sep="\n  ")

# %% [markdown]
# ## Which errors cost how much
#
# Every false positive and every missed object has one of six kinds (TIDE, Bolya et al. 2020). The cost of a
# kind is how much AP50 would rise if it were corrected, and nothing else. So one sees what to work on first.

# %%
hues = [np.divide(COLORS[kind], 270) for kind in ERROR_TYPES]
figure, panels = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True, sharex=True)
for axes, (kind, one) in zip(panels, numbers["evaluations"].items()):
    errors = one["errors"]["errors"]
    bars = axes.barh(
        ERROR_TYPES, [errors[name]["ap50_cost"] for name in ERROR_TYPES], color=hues, edgecolor="gray"
    )
    axes.bar_label(bars, [f"{errors[name]['count']}" for name in ERROR_TYPES], padding=3, fontsize=8)
    axes.set(title=f"{TITLES[kind]}: AP50 {one['errors']['ap50']:.3f}", xlabel="AP50 lost")
    axes.margins(x=0.15)
axes.invert_yaxis()

# %% [markdown]
# - classification: a good mask, the wrong class. localization: the right class, an IoU below 0.5.
# - both: wrong class and place. duplicate: the object is found already. background: nothing is there.
# - Numbers beside the bars count the errors. Many of them may cost little: those with low scores.
#
# ## Precision and recall
#
# AP is the area below these curves. A curve that falls late says that the best detections are right. One
# that ends early says that objects are missed. With a high IoU threshold only exact masks count.

# %%
curves = masks["precision_recall"]
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
for name, precision in curves["precision"].items():
    panels[0].plot(curves["recall"], precision[0], label=f"{name}, AP50 {np.mean(precision[0]):.2f}")
mean = np.mean(list(curves["precision"].values()), axis=0)  # [T, R]
for threshold in (0.5, 0.75, 0.9):
    values = mean[curves["iou_thresholds"].index(threshold)]
    panels[1].plot(curves["recall"], values, label=f"IoU {threshold}, AP {values.mean():.2f}")
for axes, title in zip(panels, ("masks of each class, IoU 0.5", "mean of the classes")):
    axes.set(title=title, xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_ylabel("precision")
    axes.legend(frameon=False, loc="lower left")
    axes.grid(alpha=0.3)

# %% [markdown]
# ## Scores
#
# Left: what a score threshold keeps. F1 weighs precision and recall alike; its maximum is a good threshold.
# Right: calibration. On the dashed line a score of 0.7 means that 70 % of such detections are right. Below
# the line the model is too sure of itself.

# %%
scores, bins = masks["scores"], [each for each in masks["calibration"]["bins"] if each["count"]]
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
for name in ("precision", "recall", "f1"):
    panels[0].plot(scores["scores"], scores[name], label=name)
panels[0].axvline(scores["best"]["scores"], color="gray", linestyle=":")
panels[0].set(title=f"best threshold: {scores['best']['scores']:.2f}", xlabel="score threshold", ylim=(0, 1))
panels[1].plot([0, 1], [0, 1], "k--", linewidth=0.8)
means, rights = [each["mean_score"] for each in bins], [each["precision"] for each in bins]
panels[1].plot(means, rights, color="tab:gray", linewidth=0.8)
sizes = [12 * each["count"] ** 0.5 for each in bins]
panels[1].scatter(means, rights, s=sizes, color="tab:orange", zorder=3, clip_on=False)
title = f"expected calibration error: {masks['calibration']['error']:.3f}"
panels[1].set(title=title, xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
panels[0].legend(frameon=False)
panels[1].grid(alpha=0.3)

# %% [markdown]
# ## Classes and kinds of objects
#
# Left: which class is taken for which, at the best threshold of each class. Right: the share of the objects
# that are found, by size, overlap with others, and whether the edge of the image cuts them.

# %%
labels, matrix = masks["confusion"]["labels"], np.array(masks["confusion"]["matrix"])
slices = [each for each in masks["slices"] if each["objects"]]
figure, panels = plt.subplots(1, 2, figsize=(9, 3.4))
panels[0].imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Greens", vmin=0, vmax=1)
for (row, column), count in np.ndenumerate(matrix):
    panels[0].text(column, row, count or "", ha="center", va="center")
ticks = range(len(labels))
panels[0].set(xlabel="detected as", ylabel="object")
panels[0].set_xticks(ticks, labels, rotation=20)
panels[0].set_yticks(ticks, labels)
names = [f"{each['slice']} ({each['objects']})" for each in slices]
panels[1].barh(names, [each["recall"] for each in slices], color="lightgray", label="at any score")
found_share = [each["recall_at_threshold"] for each in slices]
panels[1].barh(names, found_share, height=0.5, color="tab:green", label="at the best threshold")
panels[1].set(xlim=(0, 1), xlabel="share of the objects that is found")
figure.legend(*panels[1].get_legend_handles_labels(), frameon=False, ncols=2, loc="outside upper right")
panels[1].invert_yaxis()

# %% [markdown]
# ## The images with the most errors
#
# What is found, missed and wrong at the best thresholds. Often one sees the reason at once: no color in the
# dark, an object behind another one, or an annotation that is wrong.

# %%
analysis = analyze_run(detected)["segm"]
shapes = Shapes(analysis.evaluation, content, entries, image_ids=detected.image_ids)
figure, panels = plt.subplots(2, 4, figsize=(9, 5.2))
marks = [plt.Rectangle((0, 0), 1, 1, color=np.divide(hue, 255)) for hue in COLORS.values()]
figure.legend(marks, COLORS, loc="outside lower center", ncols=len(COLORS), fontsize=9, facecolor="silver")
for axes, row in zip(panels.ravel(), masks["images"]):
    pixels, index = mask_rcnn.read_image(paths[row["id"]]), detected.image_ids.index(row["id"])
    axes.imshow(
        draw_errors(
            pixels, analysis.evaluation, analysis.point, kinds=analysis.kinds, image=index, shapes=shapes
        )
    )
    axes.set_title(f"{row['found']} found, {row['missed']} missed, {row['wrong']} wrong", fontsize=9)
    axes.axis("off")

# %% [markdown]
# The report counts the errors of every image, so that any other question is a few lines. Here: which camera
# does the model cope with?

# %%
sums = collections.defaultdict(collections.Counter)
for row in masks["images"]:
    sums[row["file_name"].split("_")[0]].update({key: row[key] for key in ("found", "missed", "wrong")})
figure, axes = plt.subplots(figsize=(7, 1.9))
left = np.zeros(len(CAMERAS))
for key, hue in (("found", "tab:green"), ("missed", "tab:orange"), ("wrong", "silver")):
    values = [sums[camera][key] for camera in CAMERAS]
    axes.barh(list(CAMERAS), values, left=left, color=hue, label=key)
    left += values
axes.set(xlabel="objects and false positives")
axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.3))
axes.invert_yaxis()

# %% [markdown]
# ## Does a change help?
#
# The same model with test-time augmentation: each image is also detected mirrored. Two runs on the same
# images are compared by a paired bootstrap. If the interval of the difference holds 0, chance may explain it.
# (It takes images as independent. These are of two photographs, so the true interval is wider.) On the
# command line: `--compare OTHER_RESULTS.json`.

# %%
_, found_twice = evaluate_model(mask_rcnn.AugmentedPredictor(predictor), val_set, val_json)
other = dataclasses.replace(detected, name="and mirrored", entries=tuple(found_twice))
compared = write_report("runs/errors/comparison", detected, other=other)["comparison"]["evaluations"]
figure, axes = plt.subplots(figsize=(7, 1.9))
for number, (kind, one) in enumerate(compared.items()):
    ap = one["bootstrap"]["AP"]
    axes.plot([ap["low"], ap["high"]], [number, number], color="tab:gray", linewidth=3)
    axes.plot(ap["difference"], number, "o", color="tab:orange")
    print(f"{TITLES[kind]:16} AP {ap['first']:.3f} -> {ap['second']:.3f}; better in {ap['share_better']:.0%}")
axes.axvline(0, color="black", linewidth=0.8)
axes.set_yticks(range(len(compared)), [TITLES[kind] for kind in compared])
axes.set(xlabel="difference of AP, with its interval of 95 %", ylim=(-0.6, len(compared) - 0.4))
axes.grid(axis="x", alpha=0.3)
