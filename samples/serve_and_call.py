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
# # Serve and call
#
# A model behind HTTP: the server is started here, called from Python, with curl and with requests, loaded by
# several clients at once, and stopped. All of it stays on this machine.

# %%
# On Colab: the repository that this notebook is from, then its folder of samples.
# # !git clone --depth 1 REPOSITORY mask-rcnn
# # %pip install -q "./mask-rcnn[viz,serve]"
# # %cd mask-rcnn/samples

# %%
import io
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import requests

import mask_rcnn
from mask_rcnn import config_io
from mask_rcnn.client import Client, ServerError

# %config InlineBackend.figure_formats = ["jpeg"]
plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10})

# %% [markdown]
# ## Start
#
# Weights, a SavedModel, a TFLite or an ONNX file: the server takes all of them. These weights know figs,
# dates and hazelnuts: a minute of training on the seven photographs beside this notebook, unless another
# notebook has done it already.

# %%
WEIGHTS = Path("runs/fruits_nuts/final.weights.h5")
if not WEIGHTS.exists():
    mask_rcnn.train(config_io.from_yaml("fruits_nuts/config.yaml"), WEIGHTS.parent)

# %% [markdown]
# In a terminal this is `mask-rcnn serve fruits=runs/fruits_nuts/final.weights.h5 --queue 8`. The queue is
# short, so that one can see below what happens when it is full.

# %%
with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
options = [f"fruits={WEIGHTS}", "--port", port, "--queue", "8"]
server = subprocess.Popen([sys.executable, "-m", "mask_rcnn", "serve", *options], stderr=subprocess.DEVNULL)
URL = f"http://127.0.0.1:{port}"
client = Client(URL)

# %% [markdown]
# The port opens at once. `/healthz` answers 503 until the model is loaded, and 200 from then on.


# %%
def is_ready():
    try:
        return requests.get(f"{URL}/healthz", timeout=10).ok
    except requests.ConnectionError:
        return False


start = time.perf_counter()
while server.poll() is None and not is_ready():
    time.sleep(0.5)
print(f"ready after {time.perf_counter() - start:.0f} seconds")
for model in client.models():
    print(model["name"], model["versions"], model["kind"], [each["name"] for each in model["classes"]])

# %% [markdown]
# ## From Python
#
# The client needs NumPy alone. A machine that only asks has no TensorFlow to install. Boxes are yxyx, in
# pixels of the photograph.

# %%
PHOTO = "fruits_nuts/images/00.jpg"
found = client.detect(PHOTO, score=0.7)
for name, score, box in list(zip(found.class_names, found.scores, found.boxes))[:5]:
    print(f"{name:9} {score:.0%} {np.round(box)}")


# %%
def show(axes, picture, title=""):
    axes.imshow(picture)
    axes.set_title(title)
    axes.axis("off")


image = mask_rcnn.read_image(PHOTO)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6))
show(panels[0], image, f"masks of the answer: {len(found)} objects")
for number, mask in enumerate(found.masks()):
    hue = np.ma.masked_where(~mask, np.full(mask.shape, number % 10))
    panels[0].imshow(hue, cmap="tab10", vmin=0, vmax=9, alpha=0.55)
drawn = plt.imread(io.BytesIO(client.picture(PHOTO, score=0.7)))
show(panels[1], drawn, "drawn by the server: client.picture")

# %% [markdown]
# ## With curl
#
# The body is the file, nothing around it.

# %%
# !curl -s --data-binary @{PHOTO} -H "Content-Type: image/jpeg" "{URL}/detect?masks=none&score=0.97"

# %% [markdown]
# What cannot be answered gets a fitting status, and a sentence that says what to do:

# %%
# !curl -s --data-binary @fruits_nuts/README.md -H "Content-Type: image/jpeg" "{URL}/detect"

# %% [markdown]
# ## With requests
#
# Or any other HTTP library, of any language. Polygons instead of run lengths are easy to draw. A form with
# the file as its field `image` works too, as a browser sends it.

# %%
with open(PHOTO, "rb") as file:
    answer = requests.post(f"{URL}/detect?masks=polygons&score=0.7", files={"image": file}).json()
print({key: answer[key] for key in ("model", "version", "image")})
figure, axes = plt.subplots(figsize=(5.5, 4.2))
show(axes, image)
for each in answer["detections"]:
    for polygon in each["segmentation"]:
        axes.fill(polygon[0::2], polygon[1::2], alpha=0.3, edgecolor="white", linewidth=1.5)
    x, y, width, height = each["bbox"]
    place = {"x": x + width / 2, "y": y + height / 2, "ha": "center", "va": "center"}
    axes.text(s=each["category"], **place, fontsize=8, backgroundcolor="#fffb")

# %% [markdown]
# ## TensorFlow Serving's protocol
#
# The server also speaks the REST protocol of TensorFlow Serving and KServe, so that a client can move to one
# of these without a change. `client.predict` makes such a request: all detections, best first.

# %%
state = requests.get(f"{URL}/v1/models/fruits").json()["model_version_status"][0]
print(state["version"], state["state"])
(predicted,) = client.predict([PHOTO], "fruits", score=0.7)
print(f"{len(predicted)} objects, as above: {np.allclose(predicted.boxes, found.boxes, atol=0.01)}")

# %% [markdown]
# ## Several clients
#
# Each client sends its next photograph when it has the answer to the last one. With more clients each one
# waits longer, and the server answers as many images a second as the model computes. This page was made
# on two cores that other jobs shared: only the shape of the curves says something.

# %%
photos = [path.read_bytes() for path in sorted(Path("fruits_nuts/images").iterdir())]


def seconds_of(number):
    start = time.perf_counter()
    client.detect(photos[number % len(photos)], masks=False)
    return time.perf_counter() - start


counts, rates, waits = (1, 2, 4, 8), [], []
for count in counts:
    start = time.perf_counter()
    with ThreadPoolExecutor(count) as clients:
        waits.append(list(clients.map(seconds_of, range(16))))
    rates.append(16 / (time.perf_counter() - start))
    print(f"{count} clients: {rates[-1]:4.1f} images a second, median wait {np.median(waits[-1]):.2f} s")

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 2.8))
panels[0].plot(counts, rates, marker="o")
panels[0].set(xlabel="clients", ylabel="images a second", ylim=(0, 1.2 * max(rates)), xticks=counts)
panels[1].boxplot(waits, tick_labels=counts)
panels[1].set(xlabel="clients", ylabel="seconds until the answer", ylim=(0, None))
for axes in panels:
    axes.grid(alpha=0.3)

# %% [markdown]
# ### More than it can take
#
# Sixteen images at once, and a queue of eight. What does not fit is refused at once with status 429, and the
# client is told when to try again. Nobody waits for an answer that never comes.


# %%
def status_of(number):
    try:
        client.detect(photos[number % len(photos)], masks=False)
    except ServerError as error:
        return f"{error.status}, retry after {error.retry_after} s"
    return "200"


with ThreadPoolExecutor(16) as clients:
    statuses = list(clients.map(status_of, range(16)))
for status in sorted(set(statuses)):
    print(f"{statuses.count(status):2} answers: {status}")

# %% [markdown]
# ## What the server counts
#
# `/metrics` is for Prometheus. `/openapi.json` describes all urls, and `/` is a page to try it in a browser.

# %%
for line in requests.get(f"{URL}/metrics").text.splitlines():
    if line.startswith(("mask_rcnn_requests_total", "process_resident_memory")):
        print(line)

# %% [markdown]
# ## Stop
#
# SIGTERM closes the port, and the requests that were accepted get their answers.

# %%
server.terminate()
print("exit status:", server.wait(timeout=120))

# %% [markdown]
# The server listens to this machine only. `--host 0.0.0.0` opens it to others: give a token then.
# [The page](../docs/serving.md) has versions, limits, and who may ask.
