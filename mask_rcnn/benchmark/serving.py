"""Measures throughput, latency and memory of `mask-rcnn serve`, in comparison with the model alone."""

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.benchmark.timing import timed
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.prediction.predict import Predictor

MODEL_IMAGES = 20  # images per measurement of the model alone
WARMUP = 3  # requests and images before the first measurement
PERCENTILES = (50, 95, 99)
RESIDENT = re.compile(rb"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
TIMEOUT = 900  # seconds for a server to load its model, and for a response
OK = 200  # HTTP status


def serving_speed(
    predictor: Predictor | ExportedPredictor,
    path: Path,
    files: Sequence[Path],
    *,
    clients: Sequence[int],
    requests: int,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Measures a server on this machine, in turns with the model alone.

    Args:
        predictor: Predictor with the same model, in this process.
        path: `Path` of the model, for the server.
        files: `Path`s of image files. Clients send them in a cycle.
        clients: Numbers of concurrent clients. There is one measurement for each number.
        requests: Number of requests per measurement, of all clients together.
        options: Other arguments of the command `mask-rcnn serve`. Defaults to none.

    Returns:
        Dict for JSON:
        model: List of seconds per image of the model alone, before each measurement of the server and at the
            end.
        loads: List of the results of `measure_load`, each with `ratio`: requests per second divided by the
            images per second of the model alone, the mean of its measurements before and after.
    """
    images = [read_image(file) for file in files]
    contents = [file.read_bytes() for file in files]
    inputs = [predictor.preprocess(image)[0] for image in images]
    model, loads = [], []
    with running_server(path, options) as url:
        measure_load(url, contents, clients=1, requests=WARMUP)
        _seconds_per_image(predictor, inputs[:WARMUP])
        model.append(_seconds_per_image(predictor, inputs))
        for num_clients in clients:
            result = measure_load(url, contents, clients=num_clients, requests=requests)
            model.append(_seconds_per_image(predictor, inputs))
            loads.append({**result, "ratio": result["per_second"] * statistics.mean(model[-2:])})
    return {"model": model, "loads": loads}


def _seconds_per_image(predictor: Predictor | ExportedPredictor, inputs: Sequence[Any]) -> float:
    """Returns the seconds per image of the model alone, for preprocessed inputs."""
    cycle = [inputs[index % len(inputs)] for index in range(MODEL_IMAGES)]
    seconds, _ = timed(lambda: [predictor.detect_batch([each]) for each in cycle])
    return seconds.wall / len(cycle)


@contextlib.contextmanager
def running_server(path: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Context manager that runs `mask-rcnn serve` in its own process; yields its URL once it is ready.

    Args:
        path: `Path` of the model.
        options: Other arguments of the command. Defaults to none.
    """
    command = [sys.executable, "-m", "mask_rcnn", "serve", f"model={path}", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            url = next((line.split()[1] for line in process.stdout or () if line.startswith("Ready:")), None)
            if url is None:
                raise ValueError(
                    "The server must load the model and start. Received: its process has ended, see its "
                    f"error above. Correct the cause, and test it with `mask-rcnn serve {path}`."
                )
            timer.cancel()
            yield url
        finally:
            timer.cancel()
            process.terminate()


def measure_load(url: str, contents: Sequence[bytes], *, clients: int, requests: int) -> dict[str, Any]:
    """Sends requests from several clients at the same time.

    Args:
        url: URL of the server.
        contents: Image files as bytes. They are sent in a cycle.
        clients: Number of clients. Each client sends its next request when it has the last response.
        requests: Number of requests of all clients together.

    Returns:
        Dict for JSON:
        clients, requests: As given.
        seconds: Time from the first request to the last response.
        per_second: Successful responses (status 200) per second.
        statuses: `{HTTP status: number of responses}`. Status "0" is a broken connection.
        percentiles: `{"50": seconds, "95": ..., "99": ...}`, the latency of successful responses. None
            without any.
        memory: Resident memory of the server in bytes, before and after. None if unknown.
    """
    before = _memory(url)
    indices = iter(range(requests))
    lock = threading.Lock()
    responses: list[tuple[int, float]] = []  # (status, seconds)

    def client() -> None:
        connection = _connection(url)
        with contextlib.closing(connection):
            while True:
                with lock:
                    index = next(indices, None)
                if index is None:
                    return
                start = time.perf_counter()
                status = _send(connection, contents[index % len(contents)])
                responses.append((status, time.perf_counter() - start))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    latencies = [latency for status, latency in responses if status == OK]
    return {
        "clients": clients,
        "requests": requests,
        "seconds": seconds,
        "per_second": len(latencies) / seconds,
        "statuses": dict(collections.Counter(str(status) for status, _ in responses)),
        "percentiles": {
            str(percent): float(np.percentile(latencies, percent)) if latencies else None
            for percent in PERCENTILES
        },
        "memory": [before, _memory(url)],
    }


def _send(connection: http.client.HTTPConnection, content: bytes) -> int:
    """Sends an image file; returns the HTTP status of the response, or 0 if the connection is broken."""
    try:
        connection.request("POST", "/detect", content, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return response.status


def _connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=TIMEOUT)


def _memory(url: str) -> int | None:
    """Returns the resident memory of the server in bytes, or None if the system does not report it."""
    with contextlib.closing(_connection(url)) as connection:
        connection.request("GET", "/metrics")
        match = RESIDENT.search(connection.getresponse().read())
    return int(float(match[1])) if match else None


def format_serving_speed(report: dict[str, Any]) -> str:
    """Returns a report of `serving_speed` as a text table.

    The column "of model" is requests per second divided by the images per second of the model alone.
    """
    seconds = report["model"]
    lines = [
        f"model alone: {1000 * statistics.mean(seconds):.1f} ms per image "
        f"({1000 * min(seconds):.1f} to {1000 * max(seconds):.1f} in {len(seconds)} measurements)",
        f"{'clients':>8}{'requests':>10}{'per s':>10}{'of model':>10}"
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


def _number(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{value * factor:.0f}"
