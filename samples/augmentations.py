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
# # Augmentations
#
# Transforms of training photographs: what each one does to pixels, boxes and masks, what happens to objects
# that are cut or covered, why the pixels are resampled once only, and how to write your own. No TensorFlow:
# a few seconds.
#
# In a config they are a list, `input.transforms: [scale_jitter low=0.5 high=1.5, rotate, color_jitter]`. On
# the command line, `mask-rcnn data preview --set input.transforms="rotate, copy_paste"` draws them for your
# data.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
from dataclasses import replace

import cv2
import matplotlib.pyplot as plt
import numpy as np

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry, render
from mask_rcnn.data.augmentation.augment import TRANSFORMS, parse_transform, resize_to_input
from mask_rcnn.data.augmentation.finalize_sample import finalize_sample
from mask_rcnn.data.augmentation.joining_transforms import apply_transforms
from mask_rcnn.data.augmentation.sample import IGNORE, make_sample
from mask_rcnn.postprocessing.paste import paste_masks
from mask_rcnn.structures import Category, Detections

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 9})

# %% [markdown]
# ## A sample
#
# A `Sample` is a photograph with its objects: boxes, classes, outlines. A transform is a function of a
# sample and a random generator that returns a new sample. `apply_transforms` calls them in turn, and
# `finish` cuts the objects to what is visible. The rest of this cell makes a picture of what the network
# would learn.

# %%
data = mask_rcnn.read_coco("fruits_nuts/train.json", "fruits_nuts/images")
settings = config_io.from_yaml("fruits_nuts/config.yaml").input
samples = [
    resize_to_input(
        make_sample(record, mask_rcnn.read_image(record.path)), np.random.default_rng(0), settings
    )
    for record in data.images
]


def augment(*texts, seed=1, first=0):
    """Returns the finished sample of a photograph, after the transforms that the texts name."""
    ordered = [*samples[first:], *samples[:first]][:4]  # the others are for copy_paste and mosaic
    transforms = [parse_transform(text) for text in texts]
    sample = apply_transforms(transforms, ordered, (seed, 0), check=lambda sample, transform: sample)
    return finalize_sample(sample, settings.max_instances, needs_mask=True)


def picture(sample):
    """Draws the objects of a finished sample; ignored regions have a class of their own."""
    boxes, ignored_id = sample.output_boxes(), data.num_classes + 1
    num_ignored = len(boxes) - sample.num_objects
    masks, origins = paste_masks(sample.output_masks(112), boxes[: sample.num_objects], sample.size)
    masks += (np.zeros((0, 0), bool),) * num_ignored
    origins = np.concatenate([origins, np.zeros((num_ignored, 2), int)])
    class_ids = np.where(sample.kinds == IGNORE, ignored_id, sample.class_ids)
    found = Detections(boxes, np.ones(len(boxes)), class_ids, sample.size, masks=masks, mask_origins=origins)
    categories = (*data.categories, Category(0, "ignored"))
    pixels = np.round(render(sample, "bilinear")).astype("uint8")
    return mask_rcnn.draw(pixels, found, categories, labels=False, scores=False)


def show(axes, image, title=""):
    axes.imshow(image)
    axes.set_title(title)
    axes.axis("off")


figure, panels = plt.subplots(1, 4, figsize=(9.5, 2.2))
for number, axes in enumerate(panels):
    sample = augment(first=number)
    show(axes, picture(sample), f"{sample.num_objects} objects")

# %% [markdown]
# ## One by one
#
# All transforms of the library. Blur, noise and JPEG artifacts are stronger here than by default, so that
# they can be seen.

# %%
stronger = {
    "blur": "blur low=2.0 high=3.0 probability=1.0",
    "noise": "noise high=60.0 probability=1.0",
    "jpeg": "jpeg low=5 high=8 probability=1.0",
    "grayscale": "grayscale probability=1.0",
    "horizontal_flip": "horizontal_flip probability=1.0",
    "vertical_flip": "vertical_flip probability=1.0",
    "mosaic": "mosaic probability=1.0",
    "rotate_90": "rotate_90 probability=1.0",
    "scale_jitter": "scale_jitter low=0.4 high=1.6",
}
names = TRANSFORMS.names()
figure, panels = plt.subplots(4, 4, figsize=(9.5, 8))
show(panels[0, 0], picture(augment()), "as it is")
for axes, name in zip(panels.ravel()[1:], names):
    show(axes, picture(augment(stronger.get(name, name), seed=5)), name)
for name, line in TRANSFORMS.summaries().items():
    print(f"{name:16} {line}")

# %% [markdown]
# ## Together
#
# A list that suits many data sets: other scales, turns, other light. Every row is one photograph, drawn
# four times. A sample is a function of the seed of the run, the step and the place in the batch, so that a
# run that is resumed, or that reads in other processes, sees the same.

# %%
usual = (
    "horizontal_flip",
    "scale_jitter low=0.6 high=1.6",
    "rotate degrees=20",
    "color_jitter",
    "hue degrees=8",
)
figure, panels = plt.subplots(3, 4, figsize=(9.5, 6.2))
for row, axes_of_row in enumerate(panels):
    for seed, axes in enumerate(axes_of_row):
        show(axes, picture(augment(*usual, seed=seed, first=2 * row)))

# %% [markdown]
# ## Objects that are cut or covered
#
# Boxes are the tight boxes of what is still visible. An object that is outside is removed. Of one that
# shows less than a tenth, nothing is learned, neither that it is there nor that it is not: it becomes an
# ignored region. Here is a window that moves over a photograph.

# %%
figure, panels = plt.subplots(1, 4, figsize=(9.5, 2.6))
height, width = samples[0].size
for shift, axes in zip((0, 20, 40, 60), panels):
    window = samples[0].moved(affine.translation(0, -shift), (height, width // 2))
    seen = finalize_sample(window, settings.max_instances, needs_mask=True)
    num_ignored = int((seen.kinds == IGNORE).sum())
    show(axes, picture(seen), f"{seen.num_objects} objects, {num_ignored} ignored")

# %% [markdown]
# ## Pixels are resampled once
#
# Geometric transforms only multiply a matrix. The pixels are resampled after the last one, so that ten
# small turns cost as much as one, and are as sharp. On the right, the pixels were resampled after each of
# them.


# %%
def turn(degrees):
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return affine.around(np.divide(samples[0].size, 2), np.array([(cosine, -sine), (sine, cosine)]))


once = many = samples[0]
for _ in range(10):
    once = once.moved(turn(3.6), once.size)
    many = apply_geometry(many.moved(turn(3.6), many.size))
assert np.allclose(once.matrix, samples[0].moved(turn(36), samples[0].size).matrix)
figure, panels = plt.subplots(1, 3, figsize=(9.5, 3))
middle = (slice(60, 180), slice(80, 240))
for axes, sample, title in zip(
    panels, (samples[0], once, many), ("photograph", "ten turns, once", "ten times")
):
    pixels = np.round(render(sample, "bilinear")).astype("uint8")
    sharpness = cv2.Laplacian(cv2.cvtColor(pixels[middle], cv2.COLOR_RGB2GRAY), cv2.CV_64F).std()
    show(axes, pixels[middle], f"{title}: sharpness {sharpness:.0f}")

# %% [markdown]
# ## Other photographs
#
# `copy_paste` pastes objects of another photograph, each with its outline. What they cover is taken from
# the masks below. `mosaic` joins four photographs around a point. Both are good for few photographs: list
# them after the geometric transforms.

# %%
figure, panels = plt.subplots(2, 4, figsize=(9.5, 4.3))
for row, text in zip(panels, ("copy_paste share=0.7", "mosaic probability=1.0")):
    for seed, axes in enumerate(row):
        sample = augment("scale_jitter low=0.7 high=1.3", text, seed=seed, first=seed)
        show(axes, picture(sample), f"{text.split()[0]}: {sample.num_objects} objects")


# %% [markdown]
# ## Your own
#
# A function with a name. It draws from `rng` and from nothing else. Put it in a file of its own, and give
# `--import my_transforms.py` to the command: worker processes find it there, too. This one puts the
# photograph under water, with waves of light.


# %%
@TRANSFORMS.register("ripples")
def ripples(sample, rng, strength=0.3):
    """Makes stripes of light and shadow at a random angle and distance."""
    y, x = np.mgrid[: sample.image.shape[0], : sample.image.shape[1]]
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.05, 0.2) * max(sample.image.shape)
    wave = 1 + strength * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    return replace(sample, image=np.clip(sample.image * wave[..., None], 0, 255).astype("uint8"))


figure, panels = plt.subplots(1, 4, figsize=(9.5, 2.2))
for seed, axes in enumerate(panels):
    show(axes, picture(augment("horizontal_flip", "rotate degrees=30", "ripples strength=0.25", seed=seed)))

# %% [markdown]
# Next: [train on your data](train_on_your_data.ipynb) with `--set input.transforms="horizontal_flip, rotate
# degrees=20, color_jitter"`, and compare the AP on photographs that were not augmented. Transforms that
# change what objects are, such as a vertical flip of people, cost AP.
