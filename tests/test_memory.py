import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from mask_rcnn.model import build_parts, training_model

FAULTS = """
import resource
from mask_rcnn.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * (40 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [faults() for _ in range(3)][-1]
keep_freed_memory()
after = [faults() for _ in range(3)][-1]
print(before, after)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back")
def test_a_freed_tensor_leaves_its_memory_to_the_next():
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, run.stdout.split())
    assert before > 1000  # pages of 4 KB in 40 MB: 10240
    assert after < 10


def test_building_a_model_leaves_the_process_as_it_is(tiny_config, monkeypatch):
    calls = []
    monkeypatch.setattr("ctypes.CDLL", lambda name: calls.append(name))
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: calls.append("determinism"))
    training_model(build_parts(tiny_config), tiny_config)
    assert not calls


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory is read from Linux")
def test_the_memory_of_a_training_step(tmp_path):
    report = tmp_path / "report.json"
    options = ["--mode", "training", "--size", "800", "1216", "--warmup", "1", "--repeats", "1"]
    command = [sys.executable, "-m", "mask_rcnn", "benchmark", *options, "--json", str(report)]
    subprocess.run(command, check=True, capture_output=True)
    peak = json.loads(report.read_text())["training"]["ours"]["peak_memory"]
    assert peak < 3.8e9  # R50-FPN; 3.4 GB on two cores, and 5.0 GB when kernels were transformed too early
