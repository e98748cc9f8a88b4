"""Requests per second, answer times and memory of `mask-rcnn serve`, beside the bare model."""

import collections
import contextlib
import http.client
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

import numpy as np

from mask_rcnn.benchmark.timing import timed
from mask_rcnn.data.images import read_image

MODEL_IMAGES = 20  # that the bare model sees in each of its turns
WARMUP = 3  # requests before anything counts
PERCENTILES = (50, 95, 99)
RESIDENT = re.compile(rb"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
PATIENCE = 900  # seconds until a server has loaded its model
OK = 200


def serving_speed(predictor, path, files, *, clients, requests, options=()):
    """Measures a server on this machine in turns with the bare model.

    Args:
        predictor: Of the same model, in this process.
        path: Of the model, for the server.
        files: Paths of image files, which clients send in turns.
        clients: List of numbers of clients that send requests at once, each one after the other.
        requests: Number of requests of all clients together, for each number of clients.
        options: Further words of `mask-rcnn serve`. Defaults to none.

    Returns:
        The report, plain dicts that JSON can hold:
        `model`: list of seconds per image of the bare model, before each of `loads` and at the end.
        `loads`: list of `load`, with `ratio`, requests per second over images per second of the bare model in
        the turns before and after.
    """
    images = [read_image(file) for file in files]
    contents = [file.read_bytes() for file in files]
    inputs = [predictor.preprocess(image)[0] for image in images]
    model, loads = [], []
    with running_server(path, options) as url:
        load(url, contents, 1, WARMUP)
        _seconds_per_image(predictor, inputs[:WARMUP])
        model.append(_seconds_per_image(predictor, inputs))
        for count in clients:
            loads.append(load(url, contents, count, requests))
            model.append(_seconds_per_image(predictor, inputs))
            bare = statistics.mean(model[-2:])
            loads[-1]["ratio"] = loads[-1]["per_second"] * bare
    return {"model": model, "loads": loads}


def _seconds_per_image(predictor, inputs):
    """Returns the seconds that the model takes for an image whose input is ready."""
    many = [inputs[number % len(inputs)] for number in range(MODEL_IMAGES)]
    seconds, _ = timed(lambda: [predictor.detect_batch([each]) for each in many])
    return seconds.wall / len(many)


@contextlib.contextmanager
def running_server(path, options=()):
    """Runs `mask-rcnn serve` in a process of its own; yields its url when the model is loaded."""
    words = [sys.executable, "-m", "mask_rcnn", "serve", f"model={path}", "--port", "0", *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        url = next((line.split()[1] for line in process.stdout if line.startswith("Ready:")), None)
        if url is None:
            raise ValueError(
                "Expected a server of the model. Received: the process has ended, see its error above. "
                f"Try `mask-rcnn serve {path}`."
            )
        timer.cancel()
        yield url
    finally:
        timer.cancel()
        process.terminate()
        process.stdout.close()
        process.wait()


def load(url, contents, clients, requests):
    """Sends requests from several clients at once.

    Args:
        url: Of the server.
        contents: List of image files, bytes, that are sent in turns.
        clients: Number of clients. Each sends a request when its last one is answered.
        requests: Number of requests of all clients.

    Returns:
        A dict: `clients`, `requests`; `seconds` of all; `per_second`, requests that got an answer with
        status 200; `statuses`, `{status: count}`; `percentiles`, `{50: seconds, 95: ..., 99: ...}` of those
        answers; `memory`, bytes of the server before and after.
    """
    before = _memory(url)
    numbers = iter(range(requests))
    lock, answers = threading.Lock(), []

    def client():
        connection = _connection(url)
        with contextlib.closing(connection):
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                start = time.perf_counter()
                status = _ask(connection, contents[number % len(contents)])
                answers.append((status, time.perf_counter() - start))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    good = [taken for status, taken in answers if status == OK]
    return {
        "clients": clients,
        "requests": requests,
        "seconds": seconds,
        "per_second": len(good) / seconds,
        "statuses": dict(collections.Counter(str(status) for status, _ in answers)),
        "percentiles": {
            str(share): float(np.percentile(good, share)) if good else None for share in PERCENTILES
        },
        "memory": [before, _memory(url)],
    }


def _ask(connection, content):
    """Returns the status of an answer; 0 if the connection broke."""
    try:
        connection.request("POST", "/detect", content, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return response.status


def _connection(url):
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=PATIENCE)


def _memory(url):
    """Returns the resident bytes of the server; None where the system does not tell."""
    with contextlib.closing(_connection(url)) as connection:
        connection.request("GET", "/metrics")
        match = RESIDENT.search(connection.getresponse().read())
    return match and int(float(match[1]))


def format_serving_speed(report):
    """Returns a report of `serving_speed` as a table."""
    seconds = report["model"]
    lines = [
        f"bare model: {1000 * statistics.mean(seconds):.1f} ms an image "
        f"({1000 * min(seconds):.1f} to {1000 * max(seconds):.1f} in {len(seconds)} turns)",
        f"{'clients':>8}{'requests':>10}{'a second':>10}{'of model':>10}"
        f"{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'MB before':>11}{'after':>8}  statuses",
    ]
    for each in report["loads"]:
        times = "".join(f"{_number(value, 1000):>9}" for value in each["percentiles"].values())
        before, after = (_number(value, 1e-6) for value in each["memory"])
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(each["statuses"].items()))
        lines.append(
            f"{each['clients']:>8}{each['requests']:>10}{each['per_second']:>10.2f}{each['ratio']:>10.3f}"
            f"{times}{before:>11}{after:>8}  {statuses}"
        )
    return "\n".join(lines)


def _number(value, factor):
    return "-" if value is None else f"{value * factor:.0f}"
