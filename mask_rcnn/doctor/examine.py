"""Runs all checks of an installation, in the order in which their results are shown."""

from collections.abc import Callable, Sequence

from mask_rcnn.doctor.gpus import check_gpus
from mask_rcnn.doctor.machine import check_machine
from mask_rcnn.doctor.packages import check_packages
from mask_rcnn.doctor.probes import DEEP_PNG, FORMATS
from mask_rcnn.doctor.report import Report
from mask_rcnn.doctor.run_probe import Outcome, run_probe

REINSTALL = "Run `pip install --force-reinstall {}`."
NEEDS_EXTRA = {"TIFF": "tiff"}  # `{format: extra}` that reads all its files


def examine(run: Callable[[str], Outcome] = run_probe) -> Report:
    """Returns the `Report` of the installation and the machine.

    Args:
        run: Function of the name of a probe that returns its `Outcome`. Defaults to `run_probe`, which runs
            it in a separate process.
    """
    report = Report()
    check_packages(report)
    check_machine(report)
    tensorflow = run("tensorflow")
    check_gpus(report, tensorflow.result, tensorflow.messages)
    _check_modules(report, run("modules"))
    _check_tensorflow(report, tensorflow)
    _check_images(report, run("images"), tensorflow)
    return report


def _check_modules(report: Report, outcome: Outcome) -> None:
    if outcome.result is None:
        report.error(f"The packages cannot be imported together: {outcome.error}.")
    for package, error in (outcome.result or {}).items():
        report.error(f"{package} cannot be imported: {error}.", REINSTALL.format(package))


def _check_tensorflow(report: Report, outcome: Outcome) -> None:
    result = outcome.result
    if result is None:
        report.facts("checks", tensorflow=f"failed: {outcome.error}")
        report.error(f"TensorFlow does not work: {outcome.error}.", _advice(outcome))
        return
    failed = result["convolutions"]
    report.facts(
        "checks",
        tensorflow=f"imported in {result['seconds']} s",
        convolution="wrong" if failed else "right",
        onednn=result["onednn"],
    )
    report.facts(
        "threads", **{f"tensorflow_{name}": count for name, count in result["threads"].items() if count}
    )
    for device, error in failed.items():
        report.error(
            f"TensorFlow cannot compute a convolution on {device}: {error}.", REINSTALL.format("tensorflow")
        )
    if result["backend"] != "tensorflow":
        report.error(
            f"Keras must use TensorFlow. Received: the backend {result['backend']}.",
            "Set KERAS_BACKEND=tensorflow, or correct `backend` in ~/.keras/keras.json.",
        )
    _check_onednn(report, result["onednn"], report.sections["processor"]["instruction_sets"])


def _check_onednn(report: Report, is_used: bool, sets: Sequence[str] | None) -> None:
    if sets and "AVX512" in sets and not is_used:
        report.slow(
            "TensorFlow does not use oneDNN, which it uses by default on a CPU with AVX512.",
            "Unset TF_ENABLE_ONEDNN_OPTS, or set it to 1.",
        )
    if sets is not None and "AVX512" not in sets and is_used:
        report.slow(
            "TensorFlow uses oneDNN on a CPU without AVX512. On such a CPU, detection with "
            "EfficientNet-Lite0-FPN takes 1.3 times the CPU time.",
            "Unset TF_ENABLE_ONEDNN_OPTS, or set it to 0.",
        )


def _advice(outcome: Outcome) -> str:
    if outcome.signal == "SIGILL":
        return (
            "The CPU lacks instructions that TensorFlow was compiled for, such as AVX. "
            "Use another machine, or build TensorFlow for this CPU."
        )
    return REINSTALL.format("tensorflow keras")


def _check_images(report: Report, outcome: Outcome, tensorflow: Outcome) -> None:
    if outcome.result is None:
        report.error(f"Images cannot be read: {outcome.error}.", REINSTALL.format("Pillow numpy"))
        return
    deep = tensorflow.result["images"] if tensorflow.result else {DEEP_PNG: "TensorFlow does not work"}
    errors = outcome.result | deep
    read = [format for format in (*FORMATS, DEEP_PNG) if format not in errors]
    report.facts("checks", images_read=read)
    for format, error in errors.items():
        if format in NEEDS_EXTRA:
            advice = f"Run `pip install 'mask-rcnn[{NEEDS_EXTRA[format]}]'` to read them all."
            report.note(f"Some {format} files cannot be read: {error}.", advice)
        elif tensorflow.result or format != DEEP_PNG:
            report.error(f"A {format} file cannot be read: {error}.", REINSTALL.format("Pillow"))
