"""Which formats there are, and how a file tells its own."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write a model down.

    Args:
        name: what the user types.
        suffix: of its files; "" is a folder.
        writer: module of this package that writes it.
        runner: module of this package that runs it. It must run without mask_rcnn, as a copy on another
            machine would: it imports NumPy, its runtime, and nothing of ours.
    """

    name: str
    suffix: str
    writer: str
    runner: str

    @property
    def runner_file(self):
        """Path of the runner's source."""
        return Path(__file__).parent / f"{self.runner}.py"


FORMATS = {
    format.name: format
    for format in (
        Format(name="saved_model", suffix="", writer="saved_model", runner="saved_model_runner"),
        Format(name="tflite", suffix=".tflite", writer="lite", runner="lite_runner"),
        Format(name="onnx", suffix=".onnx", writer="onnx", runner="lite_runner"),
    )
}

# The model itself, to be compared with: its runner needs mask_rcnn.
KERAS = Format(name="keras", suffix=".h5", writer="", runner="keras_runner")


def format_of(path):
    """Returns the `Format` of a file or folder that is there.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is none of them.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no exported model {str(path)!r}. Write one: `mask-rcnn export`.")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return FORMATS["saved_model"]
    for format in (*FORMATS.values(), KERAS):
        if format.suffix and path.is_file() and path.name.endswith(format.suffix):
            return format
    raise ValueError(
        "An exported model is a SavedModel folder, a .tflite or an .onnx file. "
        f"Received: {str(path)!r}. Weights become one by `mask-rcnn export`."
    )
