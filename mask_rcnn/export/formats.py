"""Formats of exported models: their options, the packages they need, and how to recognize them."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mask_rcnn.system.paths import local_path


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format of exported models.

    Args:
        name: Name of the format, the value of `--format`.
        suffix: Suffix of its files. "" is a folder.
        writer: Name of the module of `writers` that writes it.
        runner: Name of the module of `runners` that runs it. The module must work without mask_rcnn, because
            users copy it to other machines. It imports only NumPy and its runtime.
        options: Names of the fields of `export_model.Options` that the format supports. Defaults to none.
        packages: `{module: pip package}` that writing and running it needs. Defaults to none.
        notes: Sentences for the report that users of other runtimes need. Defaults to none.
    """

    name: str
    suffix: str
    writer: str
    runner: str
    options: tuple[str, ...] = ()
    packages: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def runner_file(self) -> Path:
        """Path of the runner's Python file."""
        return Path(__file__).parent / "runners" / f"{self.runner}.py"


OPENVINO_NOTE = (
    "On CPUs with bfloat16, OpenVINO computes in bfloat16 without a message, and the detections are wrong. "
    "Set INFERENCE_PRECISION_HINT to f32."
)
FRAME_OPTIONS = ("size", "proposals", "detections")
FORMATS = {
    format.name: format
    for format in (
        Format(
            name="saved_model",
            suffix="",
            writer="saved_model",
            runner="saved_model_runner",
            options=("precision", "max_pixels"),
        ),
        Format(
            name="tflite",
            suffix=".tflite",
            writer="lite",
            runner="lite_runner",
            options=(*FRAME_OPTIONS, "quantize", "calibration"),
            packages={"ai_edge_litert": "ai-edge-litert"},
        ),
        Format(
            name="onnx",
            suffix=".onnx",
            writer="onnx",
            runner="lite_runner",
            options=FRAME_OPTIONS,
            packages={"tf2onnx": "tf2onnx", "onnx": "onnx", "onnxruntime": "onnxruntime"},
            notes=(OPENVINO_NOTE,),
        ),
        Format(
            name="web",
            suffix="",
            writer="web_site",
            runner="web_runner",
            options=(*FRAME_OPTIONS, "quantize", "calibration", "litert"),
            packages={"ai_edge_litert": "ai-edge-litert"},
        ),
    )
}
QUANTIZER = {"ai_edge_quantizer": "ai-edge-quantizer"}  # package that "dynamic" and "int8" need
QUANTIZE_METHODS = ("none", "float16", "dynamic", "int8")  # values of the option `quantize`
PRECISIONS = ("float32", "bfloat16", "float16")

# The Keras model, the reference of comparisons. Its runner needs mask_rcnn.
KERAS = Format(name="keras", suffix=".h5", writer="", runner="keras_runner")


def format_of(path: Path | str) -> Format:
    """Returns the `Format` of an exported model.

    Args:
        path: File or folder of the model.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The path has none of the formats.
    """
    path = local_path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"Expected an exported model. Received: {str(path)!r}, which does not exist. "
            "Check the path, or write the model with `mask-rcnn export`."
        )
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return FORMATS["saved_model"]
    if (path / "static" / "config.json").is_file():
        return FORMATS["web"]
    for format in (*FORMATS.values(), KERAS):
        if format.suffix and path.is_file() and path.name.endswith(format.suffix):
            return format
    raise ValueError(
        "Expected an exported model: a SavedModel folder, a .tflite or .onnx file, or a folder of "
        f"`mask-rcnn export --format web`. Received: {str(path)!r}. "
        "Check the path, or write a model with `mask-rcnn export`."
    )


def check_options(format: str, path: Path | str, options: Mapping[str, Any]) -> None:
    """Raises an error if the options of an export are invalid, before anything is imported or read.

    Args:
        format: Name of a format, a key of FORMATS.
        path: File or folder to write.
        options: `{name: value}` of the fields of `export_model.Options`. None selects the format's default.

    Raises:
        ValueError: The path or an option does not fit the format.
        ImportError: A package that the format needs is not installed.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    _check_path(path, FORMATS[format])
    for name, value in chosen.items():
        if name not in FORMATS[format].options:
            supported = " and ".join(map(_option, FORMATS[format].options))
            raise ValueError(
                f"The format {format} takes {supported}. Received: {_option(name)} {value}. "
                "Omit it, or choose another format."
            )
    for name in ("proposals", "detections", "max_pixels"):
        if chosen.get(name, 1) < 1:
            raise ValueError(
                f"{_option(name)} must be 1 or more. Received: {chosen[name]}. Omit it, or increase it."
            )
    _check_choice("quantize", chosen.get("quantize", "none"), QUANTIZE_METHODS)
    _check_choice("precision", chosen.get("precision", "float32"), PRECISIONS)
    if chosen.get("quantize") == "int8" and not chosen.get("calibration"):
        raise ValueError(
            "int8 quantization needs calibration images. Received: no --images. "
            "Give about 50 typical images with --images."
        )
    _check_packages(format, chosen.get("quantize"))


def _option(name: str) -> str:
    """Returns the command line option of a field of `export_model.Options`."""
    return f"--{name.replace('_', '-')}"


def _check_path(path: Path | str, format: Format) -> None:
    if not str(path).endswith(format.suffix) or not Path(path).name:
        raise ValueError(
            f"A file of the format {format.name} ends in {format.suffix!r}. Received: {str(path)!r}. "
            "Add the suffix."
        )
    check_replaceable(local_path(path))


def check_replaceable(path: Path) -> None:
    """Raises a ValueError if `path` exists and is not an earlier export."""
    if not path.exists():
        return
    try:
        format_of(path)
    except ValueError as error:
        raise ValueError(
            f"--out must not exist or must be an earlier export. Received: {path}, which is neither. "
            "Choose another path."
        ) from error


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}. Use one of these."
        )


def _check_packages(format: str, method: str | None) -> None:
    packages = FORMATS[format].packages | (QUANTIZER if method in ("dynamic", "int8") else {})
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(
            f"The format {format} needs {', '.join(packages.values())}. Received: an environment without "
            f"{', '.join(missing)}. Run `pip install {' '.join(missing)}`."
        )
