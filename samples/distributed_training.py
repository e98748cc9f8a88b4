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
# # Distributed training
#
# A run on several GPUs or machines should end with the weights of a run on one. This notebook splits the CPU
# into two devices, trains on one and on both, and measures the difference. The command lines for GPUs, for
# several machines and for Ray follow.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz]"
# # %cd mask-rcnn/samples

# %%
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import mask_rcnn
from mask_rcnn import config_io, model_zoo
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.training.distribution import make_strategy

# %config InlineBackend.figure_formats = ["jpeg"]
tf.get_logger().setLevel("ERROR")  # else it tells of every reduction
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# ## Two devices
#
# TensorFlow can split a CPU, but only before it computes anything. On a machine with GPUs leave this cell
# out: each GPU is a device.

# %%
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(*(device.name for device in tf.config.list_logical_devices()), sep="\n")

# %% [markdown]
# ## The same batches for both runs
#
# `train.batch_size` counts the images of a step over all devices. So the learning rate and the number of
# steps do not depend on the hardware. Plain SGD, for it shows the sums of the gradients as they are.

# %%
changes = {
    "num_classes": 3,
    "input.short_side": 96,
    "input.train_short_sides": (96,),
    "train.batch_size": 4,
    "train.optimizer": "sgd",
    "train.learning_rate": 0.02,
    "train.weight_decay": 1e-4,
    "train.warmup_steps": 2,
    "train.steps": 8,
}
config = config_io.override_all(model_zoo.config("shapes"), changes)
dataset = mask_rcnn.read_coco(*write_shapes("runs/distributed", num_images=32, size=(96, 96), seed=11))
batches = training_dataset(dataset, config)

# %% [markdown]
# ## How a batch is split
#
# Half of the images go to each device. The halves hold different numbers of objects. A mean over each half
# would give the objects of the emptier half more weight. So losses are summed on each device, and divided by
# the counts of the whole batch.

# %%
batch = next(iter(batches))
images, class_ids = batch["images"].numpy().astype("uint8"), batch["gt_class_ids"].numpy()
figure, panels = plt.subplots(1, 4, figsize=(9, 2.6))
for i, (axes, image) in enumerate(zip(panels, images)):
    axes.imshow(image)
    device, hue = i // 2, ("tab:orange", "tab:blue")[i // 2]
    axes.set_title(f"device {device}: {np.count_nonzero(class_ids[i] > 0)} objects", color=hue)
    axes.set(xticks=[], yticks=[])
    plt.setp(axes.spines.values(), color=hue, linewidth=4)

# %% [markdown]
# ## Train on one device, then on two
#
# `make_strategy` is what `mask-rcnn train --strategy` calls: "none" is one device, "mirrored" all of this
# machine. Everything else is the same, the seed of the initial weights too. Convolutions compute in float64
# here, for a clear result. Boxes and losses are float32 always.


# %%
def train(strategy):
    keras.utils.set_random_seed(0)
    with make_strategy(strategy, config.train.batch_size).scope():
        model = mask_rcnn.MaskRCNN(config, dataset.categories, precision="float64")
    model.load_initial_weights()
    start, losses = [np.array(variable) for variable in model.trainable_variables], []
    keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: losses.append(logs["loss"]))
    begin = time.perf_counter()
    model.fit(batches, shuffle=False, verbose=0, callbacks=[keep])
    print(f"{strategy:9} {len(losses)} steps, {time.perf_counter() - begin:.0f} seconds")
    return start, [np.array(variable) for variable in model.trainable_variables], losses


start, one, one_losses = train("none")
_, two, two_losses = train("mirrored")

# %% [markdown]
# The seconds say nothing here: one device uses all cores already. On two GPUs a step takes about half of the
# time.
#
# ## The difference
#
# Two sums of the same numbers in another order differ in their last digits, and so do the weights. Training
# moves them far more.

# %%
moved = np.concatenate([np.abs(a - b).ravel() for a, b in zip(one, start)])
apart = np.concatenate([np.abs(a - b).ravel() for a, b in zip(one, two)])
print(f"{len(moved):,} weights moved by up to {moved.max():.2g}, the median by {np.median(moved):.2g}")
print(f"one device and two: at most {apart.max():.2g} apart, {np.mean(apart == 0):.0%} exactly equal")
figure, panels = plt.subplots(1, 2, figsize=(9, 2.9))
panels[0].plot(one_losses, color="tab:orange", linewidth=4, alpha=0.5, label="one device")
panels[0].plot(two_losses, color="tab:blue", linestyle="--", label="two devices")
panels[0].set(title="mean loss", xlabel="step")
bins = np.geomspace(1e-12, 1, 80)
panels[1].hist(moved[moved > 0], bins, color="lightgray", label="moved by training")
panels[1].hist(apart[apart > 0], bins, color="tab:red", label="one and two devices apart")
panels[1].set(xscale="log", title="weights by their difference", yticks=[])
panels[1].margins(y=0.35)
for axes in panels:
    axes.legend(frameon=False)
assert apart.max() < 1e-3 * moved.max()

# %% [markdown]
# ## On GPUs, and on several machines
#
# One machine with several GPUs. `auto`, the default, takes all of them:
#
# ```
# mask-rcnn train --config CONFIG --run FOLDER --strategy mirrored
# ```
#
# Several machines. The same command runs on each of them. `TF_CONFIG` has all addresses, and says which
# machine this one is:
#
# ```
# export TF_CONFIG='{"cluster": {"worker": ["host1:12345", "host2:12345"]},
#   "task": {"type": "worker", "index": 0}}'
# mask-rcnn train --config CONFIG --run FOLDER
# ```
#
# On the second machine the index is 1.
#
# Each process reads its share of the images, in training and in evaluation. Only process 0 writes. If one
# process is lost, all end; started again with `--resume`, the run ends with the weights of a run without the
# loss.
#
# Ray (`pip install 'mask-rcnn[ray]'`) starts the processes, and starts them again after a failure:
#
# ```
# from mask_rcnn.training.ray_train import train_on_ray
#
# train_on_ray(config, "runs/ray", num_workers=2, use_gpu=True)
# ```
#
# Batch normalization that trains needs `norm: sync_batch_norm`. Otherwise each device normalizes by its own
# images. [The page](../docs/distributed.md) has the rest: data, signals, SLURM, Kubernetes, and what was not
# tested.
