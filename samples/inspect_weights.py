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
# # Inspect the weights
#
# What a weights file holds, and what training made of it: the filters of the first layer, what is trained and
# what is frozen, distributions before and after a fine-tune, statistics of the batch normalizations, and
# filters that do nothing.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.model import inference_model
from mask_rcnn.weights import read_arrays, read_header, variables

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# Any weights file does. This one knows figs, dates and hazelnuts: a minute of training on the seven
# photographs beside this notebook, unless another notebook has done it already. The backbone began with
# ImageNet weights, everything else with random numbers.

# %%
AFTER = Path("runs/fruits_nuts/final.weights.h5")
if not AFTER.exists():
    mask_rcnn.train(config_io.from_yaml("fruits_nuts/config.yaml"), AFTER.parent)

# %% [markdown]
# ## What is in the file
#
# A header with the config and the classes, and arrays with names: `part/layer/variable`. No model has to be
# built to read them.

# %%
config, categories = read_header(AFTER)
after = read_arrays(AFTER)  # {name: array}
print(f"{config.backbone.name}, classes: {', '.join(category.name for category in categories)}")
print(f"{len(after)} arrays, {sum(array.size for array in after.values()):,} numbers, for example:")
for name in sorted(after)[:4]:
    print(f"  {name:36} {after[name].shape}")

# %% [markdown]
# ## The same file before training
#
# The run set a seed. With the same seed, a new model has the weights that the run began with. Two files can
# be compared array by array after that.

# %%
keras.utils.set_random_seed(config.train.seed)
model = mask_rcnn.MaskRCNN(config, categories)
model.load_initial_weights()
BEFORE = Path("runs/inspect_weights/before.weights.h5")
BEFORE.parent.mkdir(parents=True, exist_ok=True)
model.save_weights(BEFORE)
before = read_arrays(BEFORE)

# %% [markdown]
# ## What is trained and what is frozen
#
# The config of this run freezes the first two stages of the backbone and all of its batch normalizations.

# %%
trained_ids = {id(variable) for variable in model.trainable_variables}
is_trained = {name: id(variable) in trained_ids for name, variable in variables(model.parts).items()}
parts = list(model.parts.named())
sizes = np.zeros((2, len(parts)), int)  # frozen, trained
for name, array in after.items():
    sizes[int(is_trained[name]), parts.index(name.partition("/")[0])] += array.size
for part, frozen, trained in zip(parts, *sizes):
    print(f"{part:10} {trained:9,} numbers trained, {frozen:9,} frozen")

# %%
figure, axes = plt.subplots(figsize=(8, 2.2))
axes.barh(parts, sizes[1] / 1e6, color="tab:orange", label="trained")
axes.barh(parts, sizes[0] / 1e6, left=sizes[1] / 1e6, color="lightsteelblue", label="frozen")
axes.invert_yaxis()
axes.set(xlabel="million numbers")
axes.legend(frameon=False)
axes.grid(axis="x", alpha=0.3)

# %% [markdown]
# ## The first layer
#
# Its 32 filters look at 3 x 3 pixels in three colors, so that each one is a small picture. Gray is 0. Edges
# of several directions, and edges between colors.

# %%
kernel = after["backbone/stem/kernel"]  # [3, 3, RGB, filters]
filters = np.moveaxis(kernel, -1, 0)
filters = 0.5 + 0.5 * filters / np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
figure, panels = plt.subplots(2, 16, figsize=(9, 1.3))
for axes, picture in zip(panels.ravel(), filters):
    axes.imshow(picture)
    axes.axis("off")

# %% [markdown]
# What they see in a photograph: the output of each filter, in the same order.

# %%
predictor = mask_rcnn.load(AFTER)
inputs, _ = predictor.preprocess(mask_rcnn.read_image("fruits_nuts/images/00.jpg"))
network = inference_model(predictor.parts, config, intermediates=True)
outputs = network(inputs)
backbone = predictor.parts.backbone
stem = keras.Model(backbone.inputs, backbone.get_layer("stem").output)
maps = stem(outputs["normalized"])[0]  # [h, w, filters]
figure, panels = plt.subplots(4, 8, figsize=(9, 3.7))
for axes, values in zip(panels.ravel(), np.moveaxis(maps.numpy(), -1, 0)):
    axes.imshow(values, cmap="magma")
    axes.axis("off")

# %% [markdown]
# ## Distributions, before and after
#
# Layers of every part of the model. Gray is before the fine-tune, orange after it. The backbone looks as
# before. Layers that began at random have a bell or a box before, and tails after it: what they have learned.
# The predictor of classes began near 0 and has become much wider.

# %%
chosen = (
    "backbone/stem",
    "backbone/block4_expand",
    "backbone/block15_project",
    "fpn/lateral5",
    "fpn/output2",
    "rpn_head/conv0",
    "box_head/fc1",
    "box_head/class_logits",
    "mask_head/conv1",
)
figure, panels = plt.subplots(3, 3, figsize=(9, 5.4))
for axes, layer in zip(panels.ravel(), chosen):
    old, new = before[f"{layer}/kernel"].ravel(), after[f"{layer}/kernel"].ravel()
    bins = np.linspace(*np.percentile(np.concatenate([old, new]), [0.1, 99.9]), 61)
    axes.hist(old, bins, color="lightgray")
    axes.hist(new, bins, histtype="step", color="tab:orange", linewidth=1.4)
    axes.set(title=f"{layer}, {new.size:,}", yticks=[])

# %% [markdown]
# ## How far each layer has moved
#
# The length of the change divided by the length of the weights before it, for all kernels in the order of the
# network. Frozen layers have no bar. The backbone is only tuned, by a few percent. The layers that predict
# classes, boxes and masks began near 0 and have changed most.

# %%
kernels = [name for part in parts for name in variables(model.parts) if name.startswith(f"{part}/")]
kernels = [name for name in kernels if name.endswith("/kernel")]
change = {name: np.linalg.norm(after[name] - before[name]) / np.linalg.norm(before[name]) for name in kernels}
figure, axes = plt.subplots(figsize=(9, 3))
for part in parts:
    numbers = [i for i, name in enumerate(kernels) if name.startswith(f"{part}/")]
    axes.bar(numbers, [change[kernels[i]] for i in numbers], width=1, label=part)
axes.set(yscale="log", ylabel="relative change", xlabel="kernels, from the pixels to the heads")
axes.legend(frameon=False, ncols=5)
axes.grid(axis="y", alpha=0.3)
for name in sorted(change, key=change.get)[-5:]:
    print(f"{name:28} {change[name]:6.2f}")
moved = [name for name in after if not is_trained[name] and not np.array_equal(before[name], after[name])]
print(f"frozen arrays that differ: {len(moved)}")

# %% [markdown]
# ## Batch normalizations
#
# Each channel is divided by the root of its moving variance and multiplied by gamma. The quotient is the
# scale that the channel really gets. Bands hold 90 % of the channels of a layer, lines are medians. Each
# block of this backbone has three layers: one expands, one is depthwise, one projects. Their variances differ
# by powers of ten, and a few photographs cannot measure them anew. So they stay as ImageNet left them.

# %%
layers = [name.split("/")[1] for name in after if name.endswith("/moving_variance")]
layers.sort(key=[layer.name for layer in backbone.layers].index)  # as the network has them
statistics = {"moving variance": {}, "gamma": {}, "scale": {}}
for layer in layers:
    statistics["moving variance"][layer] = after[f"backbone/{layer}/norm/moving_variance"]
    statistics["gamma"][layer] = np.abs(after[f"backbone/{layer}/norm/gamma"])
    statistics["scale"][layer] = np.abs(backbone.get_layer(layer).norm.scale_and_shift()[0])

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 3))
for axes, (name, values) in zip(panels, statistics.items()):
    for kind in ("expand", "depthwise", "project"):
        chosen = [layer for layer in layers if layer.endswith(kind)]
        blocks = [int(layer.removeprefix("block").split("_")[0]) for layer in chosen]
        low, middle, high = np.transpose([np.percentile(values[layer], (5, 50, 95)) for layer in chosen])
        axes.fill_between(blocks, low, high, alpha=0.25, linewidth=0)
        axes.plot(blocks, middle, label=kind)
    axes.set(yscale="log", title=name, xlabel="block of the backbone")
    axes.grid(alpha=0.3)
panels[0].set_ylim(1e-3, None)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
print(f"{len(layers)} layers")

# %% [markdown]
# ## Filters that do nothing
#
# A filter is dead by its weights if nearly nothing is left of its kernel after the scale. It is dead by its
# outputs if its ReLU gives 0 everywhere in the nine photographs. The first kind costs time and never gives
# anything. Many filters of the last blocks are of the second kind. They were trained for the thousand classes
# of ImageNet, and this model has three. Pruning takes out both kinds.


# %%
def filter_norms(layer):
    """Returns the length of each filter of a layer, `[filters]`, after its scale."""
    kernel = after[f"backbone/{layer}/kernel"]
    num_filters = kernel.shape[2] if layer.endswith("depthwise") else kernel.shape[3]
    lengths = np.linalg.norm(kernel.reshape(-1, num_filters), axis=0)
    return lengths * statistics["scale"][layer]


active = [layer for layer in layers if not layer.endswith("project")]  # these have a ReLU
taps = keras.Model(backbone.inputs, [backbone.get_layer(layer).output for layer in active])
highest = [0.0] * len(active)
for path in sorted(Path("fruits_nuts/images").iterdir()):
    inputs, _ = predictor.preprocess(mask_rcnn.read_image(path))
    maxima = [np.max(values, axis=(0, 1, 2)) for values in taps(network(inputs)["normalized"])]
    highest = [np.maximum(*pair) for pair in zip(highest, maxima)]
dead = {
    "by weights": [(norms < 0.01 * np.median(norms)).sum() for norms in map(filter_norms, active)],
    "by outputs": [(values == 0).sum() for values in highest],
}

# %%
figure, axes = plt.subplots(figsize=(9, 2.6))
counts = [len(values) for values in highest]
axes.bar(range(len(active)), counts, width=1, color="lightgray", label="all filters")
for (name, values), hue in zip(dead.items(), ("tab:orange", "tab:red")):
    axes.step(range(len(active)), values, where="mid", color=hue, label=f"dead {name}: {sum(values):,}")
axes.set(xlabel="layer of the backbone with a ReLU", ylabel="filters")
axes.legend(frameon=False)
print(f"{sum(counts):,} filters in {len(active)} layers")
