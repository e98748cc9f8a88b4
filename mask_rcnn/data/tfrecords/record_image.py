"""An image inside a TFRecord file, used instead of the path of an image file."""

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mask_rcnn.data.tfrecords.tfrecord import decode_example
from mask_rcnn.system.paths import RemotePath

ENCODED = "image/encoded"  # name of the feature that holds the image file


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordImage:
    """Location of an image file inside a TFRecord file, with the parts of the `Path` interface that are used.

    Args:
        file: Path of the TFRecord file.
        number: Index of the record in it, from 0.
        offset: Offset of the data of the record in the file, in bytes.
        length: Length of the data, in bytes.
        file_name: Name of the image, optionally with folders.
    """

    file: Path | RemotePath
    number: int
    offset: int
    length: int
    file_name: str

    def __str__(self) -> str:
        return f"{self.file}, record {self.number} ({self.file_name})"

    @property
    def name(self) -> str:
        """Name of the image without folders."""
        return PurePosixPath(self.file_name).name

    @property
    def stem(self) -> str:
        """Name of the image without folders and suffix."""
        return PurePosixPath(self.file_name).stem

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Returns the image file as a binary stream.

        Raises:
            OSError: The TFRecord file cannot be read.
            ValueError: The file has changed and no longer has this record.
        """
        with self.file.open(mode) as file:
            file.seek(self.offset)
            data = file.read(self.length)
        encoded = decode_example(data).get(ENCODED) if len(data) == self.length else None
        if not encoded:
            raise ValueError("the TFRecord file has changed")
        return io.BytesIO(encoded[0])
