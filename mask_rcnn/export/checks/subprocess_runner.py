"""Runs one exported model in a separate Python process, without importing mask_rcnn.

It reads lines from stdin and answers each with one line of JSON on stdout.

- The first line is a job, a JSON object of `runner`: path of a Python file with a class `Runner`; `model`:
  path of the model; `threads`: int or null; `images`: path of an .npz file with uint8 images `[H, W, 3]`.
  The answer has `versions`: of the runtime; `load`: loading time in seconds; `imported`: names of the modules
  in HEAVY that were imported.
- `run NAME` runs one image of the .npz file. The answer has `wall` and `cpu`, both in seconds.
- `save FILE` writes the outputs for the images run so far, as an .npz file with keys `IMAGE/OUTPUT`. The
  answer is empty.
- If anything fails, the answer has `error`, a message, and the process ends.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

HEAVY = ("mask_rcnn", "tensorflow", "keras")  # not available on a small device


def load_runner(job: dict[str, Any]) -> Any:
    """Returns a `Runner` of the runner file of a job, with the job's model loaded."""
    spec = importlib.util.spec_from_file_location("runner", job["runner"])
    if spec is None or spec.loader is None:
        raise ImportError(
            f"A runner must be a Python file. Received: {job['runner']!r}. Check `Format.runner`."
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Runner(job["model"], job["threads"])


def replies() -> Iterator[dict[str, Any]]:
    """Yields the answer to each line of the input."""
    job = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    runner, images, outputs = load_runner(job), np.load(job["images"]), {}
    imported = [name for name in HEAVY if name in sys.modules]
    yield {"versions": runner.versions, "load": time.perf_counter() - start, "imported": imported}
    for line in sys.stdin:
        action, _, name = line.strip().partition(" ")
        if action == "run":
            image = images[name]
            wall, cpu = time.perf_counter(), time.process_time()
            image_outputs = runner(image)
            yield {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            outputs |= {f"{name}/{output}": np.asarray(value) for output, value in image_outputs.items()}
        else:
            np.savez(name, **outputs)
            yield {}


def main() -> None:
    """Answers requests from stdin until it is closed."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # runtimes print messages to stdout
    try:
        for reply in replies():
            print(json.dumps(reply), file=channel, flush=True)
    except Exception as error:  # the parent process reports any error
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=channel, flush=True)


if __name__ == "__main__":
    main()
