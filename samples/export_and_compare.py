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
# # Export and compare
#
# One trained model as a SavedModel for servers and as TFLite files for phones and small computers: exported,
# checked, and shown the same photograph. The command line does the same: `mask-rcnn export FILE_OR_NAME
# --format tflite ...`.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz,export]"
# # %cd mask-rcnn/samples

# %%
import shutil
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.export import exported
from mask_rcnn.export.checks.verify import format_verification, size_on_disk
from mask_rcnn.export.export_model import Options, export_model
from mask_rcnn.export.runners import lite_runner

# %config InlineBackend.figure_formats = ["jpeg"]
tf.get_logger().setLevel("ERROR")  # else it tells where it writes what
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# Any weights do, published ones by their names too. These know figs, dates and hazelnuts: a minute of
# training on the seven photographs beside this notebook, unless another notebook has done it already.

# %%
WEIGHTS = Path("runs/fruits_nuts/final.weights.h5")
if not WEIGHTS.exists():
    mask_rcnn.train(config_io.from_yaml("fruits_nuts/config.yaml"), WEIGHTS.parent)

# %% [markdown]
# ## Export
#
# Each file is run before it is kept: alone, in a fresh interpreter of its own runtime, beside the Keras
# model, on photographs with objects that the model knows. A file that says something else is an error, and is
# not kept.

# %%
photo = "fruits_nuts/images/00.jpg"
image = mask_rcnn.read_image(photo)
FOLDER = Path("runs/exported")
report = export_model(WEIGHTS, FOLDER / "saved_model", format="saved_model", images={"photo": image})
print(format_verification(report))

# %% [markdown]
# TFLite has one size, that of the model's config, and photographs of any size are fitted into it. Fewer
# proposals to look at and fewer detections make it faster. `quantize="float16"` and `"int8"` make files of a
# half and a quarter of the size, which say nearly the same; a model that has learned for a minute only
# hesitates between boxes, and its check may say no.

# %%
kinds = {"model.tflite": Options(), "faster.tflite": Options(proposals=100, detections=30)}
for name, options in kinds.items():
    report = export_model(WEIGHTS, FOLDER / name, format="tflite", images={"photo": image}, options=options)
    print(format_verification(report), end="\n\n")

# %% [markdown]
# ## The same photograph from each
#
# An exported model is loaded as a weights file is, and says the same `Detections`.

# %%
predictors = {"Keras": mask_rcnn.load(WEIGHTS), "saved_model": exported.load(FOLDER / "saved_model")}
for name in kinds:
    predictors[name] = exported.load(FOLDER / name, threads=2)


# %%
def show(axes, picture, title):
    axes.imshow(picture)
    axes.set_title(title)
    axes.axis("off")


figure, panels = plt.subplots(2, 2, figsize=(9, 7))
for axes, (name, predictor) in zip(panels.ravel(), predictors.items()):
    found = predictor.predict(image)
    found = found.select(found.scores >= 0.7)
    show(axes, mask_rcnn.draw(image, found, predictor.categories), f"{name}: {len(found)} objects")

# %% [markdown]
# ## Sizes and seconds
#
# From a photograph to pasted masks, the median of five; TFLite with two threads, the others with all that
# there are. This page was made on two cores that other jobs shared, so only the ratios say something; on a
# device they are others. (`mask-rcnn benchmark --model FILE` measures more carefully, `mask-rcnn evaluate
# --model FILE` gives the AP.)


# %%
def seconds(predictor, repeats=5):
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        predictor.predict(image)
        times.append(time.perf_counter() - start)
    return np.median(times[1:])  # the first one builds what the others use


print(f"{'model':16} {'MB':>6} {'ms':>6}")
for name, predictor in predictors.items():
    size = size_on_disk(WEIGHTS if name == "Keras" else FOLDER / name)
    print(f"{name:16} {size / 1e6:6.1f} {1000 * seconds(predictor):6.0f}")

# %% [markdown]
# ## Without this library
#
# A server needs TensorFlow and the folder. The signature `image_bytes` takes files as they come; boxes are
# parts of the image, masks lie inside their boxes.

# %%
served = tf.saved_model.load(str(FOLDER / "saved_model"))
found = served.signatures["image_bytes"](tf.constant([Path(photo).read_bytes()]))
for name, value in sorted(found.items()):
    print(f"{name:28} {value.dtype.name:8} {tuple(value.shape)}")

# %% [markdown]
# A device needs NumPy, ai-edge-litert, the `.tflite` file, and one file of ours, which is copied there.

# %%
print("copied:", shutil.copy(lite_runner.__file__, FOLDER))
# %run {FOLDER}/lite_runner.py {FOLDER}/model.tflite {photo} --out {FOLDER}/found.png

# %%
figure, axes = plt.subplots(figsize=(6, 4.5))
show(axes, plt.imread(FOLDER / "found.png"), "drawn by lite_runner.py")
