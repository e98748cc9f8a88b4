"""An image inside of a TFRecord file, in place of the path of an image file."""

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mask_rcnn.data.tfrecord import decode_example
from mask_rcnn.paths import RemotePath

ENCODED = "image/encoded"  # name of the feature that holds the image file


@dataclass(frozen=True, slots=True)
class RecordImage:
    """Where an image file is inside of a TFRecord file; it has what code uses of the `Path` of an image.

    Args:
        file: Path of the TFRecord file.
        number: Number of the record in it, 0 for the first.
        offset: Bytes of the file before the data of the record.
        length: Bytes of the data.
        file_name: Name of the image, perhaps with folders.
    """

    file: Path | RemotePath
    number: int
    offset: int
    length: int
    file_name: str

    def __str__(self):
        return f"{self.file}, record {self.number} ({self.file_name})"

    @property
    def name(self):
        return PurePosixPath(self.file_name).name

    @property
    def stem(self):
        return PurePosixPath(self.file_name).stem

    def open(self, mode="rb"):
        """Returns the image file as a binary stream.

        Raises:
            OSError: The TFRecord file cannot be read.
            ValueError: It has changed: there is no such record any more.
        """
        with self.file.open(mode) as file:
            file.seek(self.offset)
            data = file.read(self.length)
        encoded = decode_example(data).get(ENCODED) if len(data) == self.length else None
        if not encoded:
            raise ValueError("the TFRecord file has changed")
        return io.BytesIO(encoded[0])
