"""Tests of `mask-rcnn doctor`, with simulated machines of a few files, and on this machine."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
from cli_fakes import run
from packaging.requirements import Requirement

from mask_rcnn.doctor import examine as examine_module
from mask_rcnn.doctor.examine import examine
from mask_rcnn.doctor.gpus import check_gpus
from mask_rcnn.doctor.machine import check_machine
from mask_rcnn.doctor.packages import Environment, check_packages
from mask_rcnn.doctor.probes import DEEP_PNG, FORMATS, MODULES
from mask_rcnn.doctor.report import ERROR, NOTE, SLOW, Report
from mask_rcnn.doctor.run_probe import Outcome, run_probe

TENSORFLOW = {
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "seconds": 3.2,
    "backend": "tensorflow",
    "onednn": True,
    "built_with_cuda": True,
    "gpus": [],
    "threads": {"intra_op": 0, "inter_op": 0},
    "convolutions": {},
    "images": {},
}


class Packages(Environment):
    """The packages of this machine, some with other versions. None is a missing package."""

    def __init__(self, **versions):
        self.versions = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(self, name):
        return self.versions[name] if name in self.versions else super().version(name)


def messages(report, severity):
    return " ".join(finding.message for finding in report.of(severity))


def packages_report(**versions):
    report = Report()
    check_packages(report, Packages(**versions))
    return report


def probe_outcomes(tensorflow=None, **outcomes):
    """Returns a function like `run_probe` with the given outcomes. All other outcomes are good."""
    well = {
        "tensorflow": Outcome(result=TENSORFLOW | (tensorflow or {})),
        "modules": Outcome(result={}),
        "images": Outcome(result={}),
    }
    return lambda name: (well | outcomes)[name]


def test_the_installation_of_the_tests_has_all_that_is_needed():
    report = packages_report()
    assert not report.of(ERROR)
    assert report.sections["packages"]["keras"] == metadata.version("keras")
    assert report.sections["extras"]["export"].startswith("ai-edge-litert ")


def test_a_missing_and_an_old_package_are_errors_with_the_line_that_installs_them():
    report = packages_report(keras="3.12.4", h5py=None)
    assert [finding.advice for finding in report.of(ERROR)] == [
        "Run `pip install 'keras<4,>=3.13.2'`.",
        "Run `pip install 'h5py>=3.11'`.",
    ]
    assert report.sections["packages"]["h5py"] is None


def test_an_extra_without_one_of_its_packages_is_no_error():
    report = packages_report(tf2onnx=None)
    assert not report.of(ERROR)
    expected = "without tf2onnx: pip install 'mask-rcnn[export]'"
    assert report.sections["extras"]["export"] == expected


def test_the_packages_of_an_extra_of_another_package_count():
    report = packages_report()
    assert "nvidia-cudnn-cu12" in report.sections["extras"]["gpu"]


@pytest.mark.parametrize(
    "versions, expected",
    [
        ({"opencv_python_headless": None, "opencv_python": "4.14.0"}, ""),
        ({"opencv_python": "4.14.0"}, "opencv-python and opencv-python-headless are installed together."),
        ({"tensorflow_addons": "0.23.0"}, "tensorflow-addons is installed."),
    ],
)
def test_one_opencv_does_and_conflicts_are_told(versions, expected):
    report = packages_report(**versions)
    assert not report.of(ERROR)
    assert messages(report, NOTE).startswith(expected) and bool(report.of(NOTE)) == bool(expected)


def test_every_needed_package_is_imported_by_a_probe():
    needed = {each.name for each in map(Requirement, metadata.requires("mask-rcnn")) if not each.marker}
    assert needed - {"tensorflow", "keras"} <= set(MODULES)


def write_machine(root, flags="avx2", quota="max 100000", kilobytes=8_000_000):
    """Writes the Linux files that describe a machine."""
    for name, text in {
        "proc/cpuinfo": f"model name\t: Fast 9000\nflags\t\t: fpu {flags}\n",
        "proc/meminfo": f"MemAvailable: {kilobytes} kB\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": f"{quota}\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def machine_report(root, environment=None, **settings):
    write_machine(root, **settings)
    report = Report()
    check_machine(report, root, environment or {})
    return report


def test_a_machine_with_all_instructions_is_not_slow(tmp_path):
    report = machine_report(tmp_path, flags="avx2 avx512f avx512_vnni avx512_bf16")
    assert not report.of(SLOW) and not report.of(ERROR)
    assert report.sections["processor"]["name"] == "Fast 9000"
    assert report.sections["memory"]["available_bytes"] == 8_000_000 * 1024


def test_missing_instructions_are_told_with_what_is_slow(tmp_path):
    report = machine_report(tmp_path)
    told = messages(report, SLOW)
    assert "no AVX512" in told and "int8 TFLite" in told and "mixed_bfloat16 is slower" in told


@pytest.mark.parametrize(
    "environment, settings, expected",
    [
        ({}, {"quota": "50000 100000"}, "the time of 0.5 cores"),
        ({}, {"kilobytes": 2_000_000}, "2.0 GB of memory are available"),
        ({"OMP_NUM_THREADS": "1"}, {}, "OMP_NUM_THREADS=1"),
    ],
)
def test_limits_of_the_machine_are_slow(tmp_path, monkeypatch, environment, settings, expected):
    monkeypatch.setattr("mask_rcnn.doctor.machine.usable_cores", lambda: 4)
    report = machine_report(tmp_path, environment, **settings)
    assert expected in messages(report, SLOW)


def test_a_cache_folder_that_is_a_file_is_an_error_and_nothing_is_left_in_one_that_is_to_be_made(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "file"))
    assert "The folder for cache cannot be written to" in messages(machine_report(tmp_path / "a"), ERROR)
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "new" / "cache"))
    assert not machine_report(tmp_path / "a").of(ERROR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "file"]


def write_gpu(root, has_driver):
    device = root / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")
    if has_driver:
        (root / "proc/driver/nvidia").mkdir(parents=True)
        text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n"
        (root / "proc/driver/nvidia/version").write_text(text)


@pytest.mark.parametrize(
    "has_driver, environment, found, expected",
    [
        (True, {}, {"gpus": ["H200"]}, ""),
        (True, {"CUDA_VISIBLE_DEVICES": "-1"}, {}, "CUDA_VISIBLE_DEVICES='-1' hides all GPUs."),
        (False, {}, {}, "The machine has 1 NVIDIA GPU(s), and no driver is loaded."),
        (True, {}, {"built_with_cuda": False}, "This TensorFlow was built without GPU support."),
        (True, {"CUDA_VISIBLE_DEVICES": "0"}, {}, "It says: failed call to cuInit: CUDA_ERROR_UNKNOWN"),
    ],
)
def test_a_gpu_that_is_not_used_has_a_reason(tmp_path, has_driver, environment, found, expected):
    write_gpu(tmp_path, has_driver)
    report = Report()
    lines = ["I0000 something else", "failed call to cuInit: CUDA_ERROR_UNKNOWN"]
    check_gpus(report, TENSORFLOW | found, lines, root=tmp_path, environment=environment)
    assert expected in messages(report, SLOW) and bool(report.of(SLOW)) == bool(expected)
    assert report.sections["gpus"]["driver"] == ("550.54.15" if has_driver else None)


def test_without_a_gpu_the_report_says_what_takes_long(tmp_path):
    report = Report()
    check_gpus(report, TENSORFLOW, [], root=tmp_path, environment={})
    assert "There is no GPU." in messages(report, SLOW)


def test_all_is_well():
    report = examine(probe_outcomes())
    assert not report.is_broken
    assert report.sections["checks"]["images_read"] == [*FORMATS, DEEP_PNG]


@pytest.mark.parametrize(
    "outcomes, message, advice",
    [
        (
            {"tensorflow": Outcome(result=None, error="SIGILL ended the process", signal="SIGILL")},
            "TensorFlow does not work: SIGILL",
            "The CPU lacks instructions",
        ),
        (
            {"tensorflow": Outcome(result=None, error="ImportError: libtensorflow")},
            "TensorFlow does not work: ImportError",
            "pip install --force-reinstall tensorflow keras",
        ),
        (
            {"modules": Outcome(result={"h5py": "ImportError: libhdf5"})},
            "h5py cannot be imported: ImportError: libhdf5.",
            "pip install --force-reinstall h5py",
        ),
        ({"images": Outcome(result={"GIF": "ValueError: x"})}, "A GIF file cannot be read", "Pillow"),
        ({"images": Outcome(result=None, error="SIGSEGV")}, "Images cannot be read: SIGSEGV", "Pillow"),
    ],
)
def test_what_is_broken_is_an_error_with_advice(outcomes, message, advice):
    (finding,) = examine(lambda name: outcomes.get(name) or probe_outcomes()(name)).of(ERROR)
    assert message in finding.message and advice in finding.advice


@pytest.mark.parametrize(
    "found, message",
    [
        ({"backend": "torch"}, "Received: the backend torch."),
        ({"convolutions": {"GPU:0": "NotFoundError: cudnn"}}, "on GPU:0: NotFoundError: cudnn."),
    ],
)
def test_a_tensorflow_that_computes_nothing_right_is_an_error(found, message):
    assert message in messages(examine(probe_outcomes(found)), ERROR)


@pytest.mark.parametrize(
    "sets, onednn, expected",
    [
        (["AVX2"], True, "uses oneDNN on a CPU without AVX512"),
        (["AVX2"], False, ""),
        (["AVX2", "AVX512"], False, "does not use oneDNN"),
        (["AVX2", "AVX512"], True, ""),
        (None, False, ""),
    ],
)
def test_onednn_is_slow_where_it_should_not_be_used_or_should(sets, onednn, expected):
    report = Report()
    examine_module._check_onednn(report, onednn, sets)
    assert expected in messages(report, SLOW) and bool(report.of(SLOW)) == bool(expected)


def test_tiff_files_need_an_extra_and_are_no_error():
    report = examine(probe_outcomes(images=Outcome(result={"TIFF": "needs the package tifffile"})))
    assert not report.is_broken
    assert "mask-rcnn[tiff]" in " ".join(finding.advice for finding in report.of(NOTE))


def test_the_command_prints_text_or_json_and_exits_with_2_if_something_is_broken(
    monkeypatch, capsys, tmp_path
):
    report = Report()
    report.facts("memory", available_bytes=3 << 30)
    report.note("One thing.", "Do this.")
    monkeypatch.setattr(examine_module, "examine", lambda: report)
    assert run("doctor", "--json", tmp_path / "report.json") == 0
    printed = capsys.readouterr().out
    assert "available  3.2 GB" in printed and "  - One thing.\n    Do this.\n" in printed
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is True
    report.error("Another thing.")
    assert run("doctor", "--json") == 2
    content = json.loads(capsys.readouterr().out)
    assert content["ok"] is False and content["sections"] == {"memory": {"available_bytes": 3 << 30}}
    assert content["findings"][1] == {"severity": "error", "message": "Another thing.", "advice": ""}


@pytest.mark.slow
def test_a_broken_tensorflow_is_diagnosed_and_all_else_is_checked(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libtensorflow_cc.so.2 is damaged')")
    words = [sys.executable, "-m", "mask_rcnn", "doctor", "--json"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "")
    report = json.loads(done.stdout)
    (error,) = [finding for finding in report["findings"] if finding["severity"] == "error"]
    expected = "TensorFlow does not work: ImportError: libtensorflow_cc.so.2 is damaged."
    assert error["message"] == expected
    assert report["sections"]["checks"]["images_read"] == list(FORMATS)


def test_a_probe_runs_in_a_process_of_its_own():
    assert run_probe("images") == Outcome(result={}, messages=[])


def test_a_probe_that_fails_or_hangs_is_told(tmp_path, monkeypatch):
    assert run_probe("absent").error == "KeyError: 'absent'"
    assert run_probe("modules", time_limit=0.01).error == "no answer within 0.01 seconds"


@pytest.mark.slow
def test_this_machine_is_well():
    report = examine()
    assert not report.of(ERROR)
    assert report.sections["checks"]["convolution"] == "right"
