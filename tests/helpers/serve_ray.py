"""`serve_ray.py FOLDER`: two replicas of Ray Serve answer requests for all images. One is killed meanwhile.

FOLDER has `model.weights.h5` and `photos`. Writes `answers.json` with a list of [name, reply], the seconds
until the first reply, and the seconds per request with 1 and with 8 clients.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

URL = "http://127.0.0.1:8123/detect?score=0"
MAX_TRIES = 60  # attempts per request, one per second, because a new replica must import TensorFlow


def ask(path):
    """Returns the reply for an image. Repeats the request if its replica dies."""
    for _ in range(MAX_TRIES):
        request = urllib.request.Request(URL, path.read_bytes(), {"Content-Type": "image/png"})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if getattr(error, "code", 500) < 500:
                raise
            time.sleep(1)
    raise RuntimeError(f"no answer for {path}")


def timed(paths, clients):
    """Returns [name, reply] for each image, and the mean time of a request in seconds."""
    seconds = []

    def ask_timed(path):
        start = time.monotonic()
        answer = ask(path)
        seconds.append(time.monotonic() - start)
        return [path.name, answer]

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask_timed, paths)), sum(seconds) / len(seconds)


def replicas():
    """Returns the process ids of the replicas."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ServeReplica" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # the process has ended
            continue
    return found


def kill_one(count, answered):
    while answered() < count:
        time.sleep(0.05)
    os.kill(replicas()[0], signal.SIGKILL)


if __name__ == "__main__":
    import ray
    from ray import serve

    from mask_rcnn.scale.ray_serve import app

    folder = Path(sys.argv[1])
    workers = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
    own = {"num_cpus": 2, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(runtime_env=workers, **({} if "RAY_ADDRESS" in os.environ else own))
    start = time.monotonic()
    serve.start(http_options={"host": "127.0.0.1", "port": 8123})
    serve.run(app({"models": [f"tiny={folder / 'model.weights.h5'}"], "replicas": 2, "cpus": 0.5}))
    paths = sorted((folder / "photos").iterdir())
    ask(paths[0])
    report = {"ready": time.monotonic() - start}
    for clients in (1, 8):
        _, report[f"seconds, {clients} clients"] = timed(paths[:16], clients)

    answers = []
    before = replicas()
    killer = threading.Thread(target=kill_one, args=(len(paths) // 3, lambda: len(answers)))
    killer.start()
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda path: [path.name, ask(path)], paths):
            answers.append(answer)
    killer.join()
    report |= {"answers": answers, "replicas": before}
    (folder / "answers.json").write_text(json.dumps(report))
    serve.shutdown()
