"""Formats of exported models: their options, the packages they need, and how to recognize them."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

from mask_rcnn.system.paths import local_path


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format of exported models.

    Args:
        name: Name of the format, the value of `--format`.
        suffix: Suffix of its files. "" is a folder.
        writer: Name of the module of `writers` that writes it.
        runner: Name of the module of this package that runs it. The module must run without mask_rcnn, as a
            copy on another machine does. It imports only NumPy and its runtime.
        options: Names of the fields of `plan.Options` that the format supports. Defaults to none.
        packages: `{module: pip package}` that writing and running it needs. Defaults to none.
        notes: Sentences for the report that users of other runtimes must know. Defaults to none.
    """

    name: str
    suffix: str
    writer: str
    runner: str
    options: tuple = ()
    packages: dict = field(default_factory=dict)
    notes: tuple = ()

    @property
    def runner_file(self):
        """Path of the runner's Python file."""
        return Path(__file__).parent / "runners" / f"{self.runner}.py"


OPENVINO_NOTE = (
    "OpenVINO computes in bfloat16 on CPUs that have it, without a message, and what it finds then is wrong. "
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
METHODS = ("none", "float16", "dynamic", "int8")  # values of the option `quantize`
PRECISIONS = ("float32", "bfloat16", "float16")

# The Keras model, the reference of comparisons. Its runner needs mask_rcnn.
KERAS = Format(name="keras", suffix=".h5", writer="", runner="keras_runner")


def format_of(path):
    """Returns the `Format` of an exported model.

    Args:
        path: File or folder of the model.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The path has none of the formats.
    """
    path = local_path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no exported model {str(path)!r}. Write one: `mask-rcnn export`.")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return FORMATS["saved_model"]
    if (path / "static" / "config.json").is_file():
        return FORMATS["web"]
    for format in (*FORMATS.values(), KERAS):
        if format.suffix and path.is_file() and path.name.endswith(format.suffix):
            return format
    raise ValueError(
        "An exported model is a SavedModel folder, a .tflite or an .onnx file, or the folder of a page. "
        f"Received: {str(path)!r}. Weights become one by `mask-rcnn export`."
    )


def check_options(format, path, options):
    """Raises an error if the options of an export are invalid, before anything is imported or read.

    Args:
        format: Name of a format, a key of FORMATS.
        path: File or folder to write.
        options: `{name: value}` of the fields of `plan.Options`. None selects the format's default.

    Raises:
        ValueError: The path or an option does not fit the format.
        ImportError: A package that the format needs is not installed.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    _check_path(path, FORMATS[format])
    for name, value in chosen.items():
        if name not in FORMATS[format].options:
            known = " and ".join(f"--{each}".replace("_", "-") for each in FORMATS[format].options)
            raise ValueError(
                f"The format {format} takes {known}. Received: --{name.replace('_', '-')} {value}. "
                "Leave it out, or choose another format."
            )
    for name in ("proposals", "detections", "max_pixels"):
        if chosen.get(name, 1) < 1:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} must be 1 or more. Received: {chosen[name]}. Leave it out, or raise it."
            )
    _check_choice("quantize", chosen.get("quantize", "none"), METHODS)
    _check_choice("precision", chosen.get("precision", "float32"), PRECISIONS)
    if chosen.get("quantize") == "int8" and not chosen.get("calibration"):
        raise ValueError(
            "int8 quantization needs calibration images. Received: no --images. "
            "Give about 50 typical images with --images."
        )
    _check_packages(format, chosen.get("quantize"))


def _check_path(path, format):
    if not str(path).endswith(format.suffix) or not Path(path).name:
        raise ValueError(
            f"A file of the format {format.name} ends in {format.suffix!r}. Received: {str(path)!r}. "
            "Add the suffix."
        )
    check_replaceable(local_path(path))


def check_replaceable(path):
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


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}. Correct its name."
        )


def _check_packages(format, method):
    packages = FORMATS[format].packages | (QUANTIZER if method in ("dynamic", "int8") else {})
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(
            f"The format {format} needs {', '.join(packages.values())}. Received: an environment without "
            f"{', '.join(missing)}. Run `pip install {' '.join(missing)}`."
        )
