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
# # The paper's ideas, one by one
#
# Three ideas make *Mask R-CNN* (He et al., 2017) what it is: features that are not quantized (RoIAlign),
# masks whose classes do not compete, and a mask branch of convolutions. This notebook shows each of them
# beside what it replaced, with the library's own layers.
#
# Boxes are yxyx, in pixels of the image.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from mask_rcnn import losses
from mask_rcnn.data.shapes import CLASSES, draw_scene
from mask_rcnn.layers.roi_poolers import RoiAlign, RoiPool, RoiWarp
from mask_rcnn.networks.heads import hidden_convs, mask_head, mlp_mask_head
from mask_rcnn.ops.boxes import iou
from mask_rcnn.ops.roi_align import roi_align
from mask_rcnn.ops.roi_pool import whole_pixel_rois

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})
keras.utils.set_random_seed(0)


# %%
def show(axes, image, title="", **style):
    axes.imshow(image, **style)
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])


# %% [markdown]
# ## 1. RoIAlign: features without quantization
#
# The head of a detector needs 7 x 7 features for each region of interest (RoI), of whatever size. RoIPool
# rounds the RoI to whole pixels of the feature map, cuts it into bins of whole pixels, and takes the
# largest value of each bin. With a stride of 16, a pixel of the map is 16 pixels of the image. RoIWarp
# rounds the RoI in the same way, and then samples it between the pixels. RoIAlign does not round at all.
#
# Here a bright square moves over a feature map of stride 16, a quarter of a map pixel at a time. Its RoI
# moves with it. So what is pooled should not change.

# %%
STRIDE, SIDE, MAP = 16, 12, 24  # pixels of the image for each pixel of the map; pixels of the map


def moved_square(shift):
    """Returns a map `[1, MAP, MAP, 1]` with a square at 6 + shift, and its RoI `[1, 1, 4]`."""
    first, last = 6 + shift, 6 + shift + SIDE
    edges = np.arange(MAP)
    covered = np.clip(np.minimum(edges + 1, last) - np.maximum(edges, first), 0, 1)  # of each row and column
    features = np.outer(covered, covered).astype("float32")
    margin = SIDE / 4
    roi = STRIDE * np.array([first - margin, first - margin, last + margin, last + margin], "float32")
    return features[None, :, :, None], roi[None, None]


poolers = {
    "RoIPool": RoiPool((STRIDE,), 7),
    "RoIWarp": RoiWarp((STRIDE,), 7, sampling_ratio=2),
    "RoIAlign": RoiAlign((STRIDE,), 7, sampling_ratio=2),
}
shifts = np.arange(5) / 4
pooled = {}  # [shifts, 7, 7] of each
for name, pooler in poolers.items():
    squares = [moved_square(shift) for shift in shifts]
    pooled[name] = np.stack([pooler([features], roi)[0, ..., 0] for features, roi in squares])

# %%
figure, panels = plt.subplots(3, len(shifts), figsize=(9, 5.6))
for row, (name, values) in zip(panels, pooled.items()):
    for axes, shift, value in zip(row, shifts, values):
        show(axes, value, f"{name}, moved by {shift:g}", cmap="magma", vmin=0, vmax=1)

# %% [markdown]
# How far are the features from those of the first position? After a whole pixel of the map all three are
# where they began. In between RoIPool and RoIWarp have followed the grid, not the object.

# %%
fine = np.linspace(0, 2, 41)
figure, axes = plt.subplots(figsize=(6, 2.8))
changes = {}
for name, pooler in poolers.items():
    squares = [moved_square(shift) for shift in fine]
    values = np.stack([pooler([features], roi)[0, ..., 0] for features, roi in squares])
    changes[name] = np.abs(values - values[0]).mean(axis=(1, 2))
    axes.plot(fine * STRIDE, changes[name], label=name)
axes.set(xlabel="movement of the object, pixels of the image", ylabel="mean change of a feature")
axes.legend(frameon=False)
axes.grid(alpha=0.3)
for name, change in changes.items():
    print(f"{name:9} changes by up to {change.max():.3f}, {change.mean():.3f} on average")

# %% [markdown]
# ### What rounding costs
#
# The IoU of a RoI with what is left of it after rounding says how well a mask can follow the image at all.
# Small objects and large strides suffer. So the paper finds the largest gain of RoIAlign with a stride of
# 32 (table 2d).

# %%
random = np.random.default_rng(0)
sides = np.geomspace(16, 256, 9)
figure, axes = plt.subplots(figsize=(6, 2.8))
for stride in (4, 8, 16, 32):
    means = []
    for side in sides:
        corners = random.uniform(0, 512, (2000, 2))
        rois = np.concatenate([corners, corners + side], axis=1).astype("float32")
        rounded = whole_pixel_rois(rois, 1 / stride) * stride
        means.append(float(tf.reduce_mean(tf.linalg.diag_part(iou(rois[:1000], rounded[:1000])))))
    axes.plot(sides, means, marker=".", label=f"stride {stride}")
axes.set(xscale="log", xlabel="side of the RoI, pixels of the image", ylabel="IoU with the rounded RoI")
axes.set_xticks(sides[::2], [f"{side:.0f}" for side in sides[::2]])
axes.minorticks_off()
axes.legend(frameon=False, ncols=2)
axes.grid(alpha=0.3)

# %% [markdown]
# ## 2. Masks without competition among classes
#
# A classifier of pixels (FCN) lets the classes compete: a softmax gives each pixel to one of them. Mask
# R-CNN leaves the class to the box branch. Its mask branch has one sigmoid for each class, and only the
# mask of the class of the RoI counts.
#
# Both are trained here on crops of squares, circles and triangles in random textures: the same network, the
# same crops, the same number of steps. The crops are RoIAlign of the image itself, 14 x 14, and the masks
# 28 x 28.


# %%
def crops_of(seed, num_scenes, size=(128, 128)):
    """Returns `[N, 14, 14, 3]` crops, `[N]` class ids and `[N, 28, 28]` masks of random objects."""
    crops, class_ids, masks = [], [], []
    for number in range(num_scenes):
        image, ids, shapes = draw_scene(np.random.default_rng([seed, number]), size)
        for class_id, mask in zip(ids, shapes):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = np.array([[rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]], "float32")
            pixels = image[None].astype("float32") / 127 - 1
            crops.append(roi_align(pixels, box, [0], scale=1.0, pool_size=14)[0])
            pixels = mask[None, ..., None].astype("float32")
            masks.append(roi_align(pixels, box, [0], scale=1.0, pool_size=28)[0, ..., 0])
            class_ids.append(class_id)
    return np.stack(crops), np.array(class_ids, "int32"), (np.stack(masks) >= 0.5).astype("float32")


train, test = crops_of(1, 400), crops_of(2, 60)
print(f"{len(train[0]):,} objects to train on, {len(test[0])} to test on: {', '.join(CLASSES)}")


# %%
def loss_of(function):
    """Returns a Keras loss of one of the library's mask losses, which give a sum and a count."""

    def loss(masks, logits):
        counts = tf.ones([1, tf.shape(masks)[0]], bool)
        total, count = tf.unstack(function(logits[None], masks[None], counts)[0])
        return total / count

    return loss


def fit(model, loss, epochs=12):
    crops, class_ids, masks = train
    model.compile(keras.optimizers.AdamW(0.002), loss_of(loss))
    history = model.fit([crops, class_ids], masks, batch_size=32, epochs=epochs, verbose=0)
    return history.history["loss"]


def masks_of(model, class_ids):
    """Returns the masks of the test objects `[N, 28, 28]`, as objects of these classes."""
    logits = model.predict([test[0], class_ids], verbose=0)
    logits = logits[..., 0] if logits.ndim == 4 else logits  # competing masks have the background beside them
    return logits > 0


def mask_iou(masks):
    truth = test[2] > 0
    return (masks & truth).sum(axis=(1, 2)) / (masks | truth).sum(axis=(1, 2))


num_outputs = len(CLASSES) + 1
sigmoid = mask_head((14, 14, 3), hidden_convs(4, 32), channels=32, num_outputs=num_outputs)
softmax = mask_head((14, 14, 3), hidden_convs(4, 32), channels=32, num_outputs=num_outputs, competing=True)
curves = {
    "independent (sigmoid)": fit(sigmoid, losses.mask_loss),
    "competing (softmax)": fit(softmax, losses.competing_mask_loss),
}
right = test[1]
wrong = right % len(CLASSES) + 1  # what a box branch that errs would say
found = {}
for name, model in (("independent (sigmoid)", sigmoid), ("competing (softmax)", softmax)):
    found[name] = masks_of(model, right), masks_of(model, wrong)
    ious = [mask_iou(each).mean() for each in found[name]]
    print(f"{name:22} mean IoU {ious[0]:.3f}, with a wrong class of the box branch {ious[1]:.3f}")

# %% [markdown]
# The network with a softmax has to tell the classes apart in each pixel before it can draw a mask. In the
# same number of steps it has not learned that. Where it cannot decide between a circle and a square, it
# gives a part of the probability to each, and neither reaches one half. And when the box branch errs,
# nothing is left of the mask. The sigmoid leaves that question to the box branch.

# %%
figure, panels = plt.subplots(2, 5, figsize=(9, 3.8))
index = int(np.argmax(mask_iou(found["independent (sigmoid)"][0])))
for row, (name, model) in zip(panels, (("sigmoid", sigmoid), ("softmax", softmax))):
    show(row[0], np.clip((test[0][index] + 1) / 2, 0, 1), f"a {CLASSES[right[index] - 1]}; {name}")
    show(row[1], test[2][index], "truth", cmap="gray")
    for axes, class_id in zip(row[2:], range(1, num_outputs)):
        logits = model.predict([test[0][[index]], np.array([class_id])], verbose=0)[0]
        logits = logits[..., 0] if logits.ndim == 3 else logits
        title = f"as a {CLASSES[class_id - 1]}, up to {keras.ops.sigmoid(logits.max()):.0%}"
        show(axes, keras.ops.sigmoid(logits), title, cmap="magma", vmin=0, vmax=1)

# %% [markdown]
# The masks of six objects, for the right class and for a wrong one:

# %%
figure, panels = plt.subplots(6, 6, figsize=(9, 9.2))
rows = {
    "object": np.clip((test[0] + 1) / 2, 0, 1),
    "truth": test[2],
    "sigmoid": found["independent (sigmoid)"][0],
    "softmax": found["competing (softmax)"][0],
    "sigmoid, wrong class": found["independent (sigmoid)"][1],
    "softmax, wrong class": found["competing (softmax)"][1],
}
for row, (name, values) in zip(panels, rows.items()):
    for axes, index in zip(row, range(6)):
        show(axes, values[index], cmap="gray", vmin=0, vmax=1)
    row[0].set_title(name, loc="left")

# %% [markdown]
# ## 3. A mask branch of convolutions
#
# A fully connected layer (MLP) has a weight for each pixel of the input and each pixel of the mask. It
# forgets that pixels are neighbors, and learns every place on its own. Convolutions keep the layout of the
# object, with a small part of the weights (table 2e).

# %%
mlp = mlp_mask_head((14, 14, 3), dense_units=(512, 512), num_outputs=num_outputs)
curves["fully connected"] = fit(mlp, losses.mask_loss)
for name, model in (("convolutions", sigmoid), ("fully connected", mlp)):
    ious = mask_iou(masks_of(model, right))
    print(f"{name:16} {model.count_params():>9,} weights, mean IoU {ious.mean():.3f}")

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 2.8), width_ratios=(1, 1))
for name, values in curves.items():
    panels[0].plot(np.arange(1, len(values) + 1), values, label=name)
panels[0].set(xlabel="epoch", ylabel="mask loss", ylim=(0, None))
panels[0].legend(frameon=False)
panels[0].grid(alpha=0.3)
ious = [mask_iou(masks_of(model, right)) for model in (sigmoid, mlp)]
panels[1].hist(ious, bins=np.linspace(0, 1, 21), label=["convolutions", "fully connected"])
panels[1].set(xlabel="IoU of a mask", ylabel="objects")
panels[1].legend(frameon=False)

# %% [markdown]
# The fully connected layers fit the crops of the training better: their loss is lower. Of objects that they
# have not seen they draw slightly worse masks. They have learned more by heart.

# %% [markdown]
# These are small networks on drawn shapes. The paper's own comparisons, rows of its tables as trainings of
# whole models, are one command: `mask-rcnn ablate 2d`. See [the page](../docs/ablations.md).
