"""Runs one exported model in a fresh interpreter: a program that imports nothing of ours but the runner.

Its input is lines, each answered by a line of JSON.

- The first is a job: `runner`, path of the source of a `Runner`; `model`, what it opens; `threads` or null;
  `images`, an .npz of uint8 images `[H, W, 3]`. The answer: `versions` of what runs it; `load`, seconds;
  `imported`, those of HEAVY that it needed.
- `run NAME` runs an image of the .npz: `wall` and `cpu`, seconds.
- `save FILE` writes what was found in the images that were run, an .npz of `IMAGE/OUTPUT`.
- Anything that goes wrong: `error`.
"""

import importlib.util
import json
import os
import sys
import time

import numpy as np

HEAVY = ("mask_rcnn", "tensorflow", "keras")  # what a small device has not


def load_runner(job):
    spec = importlib.util.spec_from_file_location("runner", job["runner"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Runner(job["model"], job["threads"])


def answers():
    """Yields the answer to each line of the input."""
    job = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    runner, images, found = load_runner(job), np.load(job["images"]), {}
    imported = [name for name in HEAVY if name in sys.modules]
    yield {"versions": runner.versions, "load": time.perf_counter() - start, "imported": imported}
    for line in sys.stdin:
        action, _, name = line.strip().partition(" ")
        if action == "run":
            image = images[name]
            wall, cpu = time.perf_counter(), time.process_time()
            outputs = runner(image)
            yield {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            found |= {f"{name}/{output}": np.asarray(value) for output, value in outputs.items()}
        else:
            np.savez(name, **found)
            yield {}


def main():
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # runtimes greet on stdout
    try:
        for answer in answers():
            print(json.dumps(answer), file=channel, flush=True)
    except Exception as error:  # whatever it is, the other side must hear of it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=channel, flush=True)


if __name__ == "__main__":
    main()
