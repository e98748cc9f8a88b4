"""Runs `training_cluster.py` in several processes of this machine."""

import contextlib
import json
import os
import socket
import subprocess
import sys

from locations import HELPERS

SCRIPT = HELPERS / "training_cluster.py"
TIMEOUT = 540  # seconds, after which a process is killed


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def run_cluster(num_processes, *arguments):
    """Runs the script in `num_processes` processes; returns `[(exit code, stderr)]` after all have ended."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(num_processes)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = []
    try:
        for rank in range(num_processes):
            cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            processes.append(
                subprocess.Popen(
                    [sys.executable, SCRIPT, *map(str, arguments)],
                    env={**environment, "TF_CONFIG": json.dumps(cluster)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        errors = [process.communicate(timeout=TIMEOUT)[1] for process in processes]
        return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def check_codes(results, codes):
    assert [code for code, _ in results] == codes, "\n".join(error[-2000:] for _, error in results)
