"""Record of a published weights file."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mask_rcnn.config import Config
    from mask_rcnn.model_zoo.preset import Preset

DIGITS = {"sha256": 64, "md5": 32}  # hexadecimal digits of a complete hash


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A published weights file. All facts are from the publications of its source.

    Facts that could not be confirmed are None, empty or shortened, and listed in `unconfirmed`.

    Args:
        name: Name of the source and its name of the weights, such as "torchvision/maskrcnn_resnet50_fpn".
        description: Architecture and training data, in a few words.
        url: URL of the file.
        file_format: Format of the file, one that `readers.read_state_dict` supports.
        license: License of the weights.
        source: Publication of the URL and the hash.
        published: Publication of the scores below, and the data they were measured on.
        sha256: First hexadecimal digits of the file's SHA-256, as many as are published. A complete hash has
            64. Defaults to "".
        md5: First hexadecimal digits of the file's MD5, if the source publishes MD5 instead. Defaults to "".
        box_ap: Published box AP, percent. Not measured by this project. Defaults to None.
        mask_ap: Published mask AP, percent. Defaults to None.
        keypoint_ap: Published keypoint AP, percent. Defaults to None.
        top1: Published top-1 accuracy of a backbone on ImageNet, percent. Defaults to None.
        unconfirmed: Tuple of strings: the facts that could not be confirmed, and why. Defaults to ().
        packaged: Path of the file in the folder of installed packages, if a pip package contains it. Then
            nothing is downloaded. Defaults to "".
        is_backbone: Whether it is an ImageNet classifier for `backbone.weights`, not a detector. Defaults to
            False.

    Raises:
        ValueError: If a hash is not lower-case hexadecimal or too long.
    """

    name: str
    description: str
    url: str
    file_format: str
    license: str
    source: str
    published: str
    sha256: str = ""
    md5: str = ""
    box_ap: float | None = None
    mask_ap: float | None = None
    keypoint_ap: float | None = None
    top1: float | None = None
    unconfirmed: tuple[str, ...] = ()
    packaged: str = ""
    is_backbone: bool = False

    def __post_init__(self):
        for algorithm, length in DIGITS.items():
            digits = getattr(self, algorithm)
            if not re.fullmatch(rf"[0-9a-f]{{0,{length}}}", digits):
                raise ValueError(
                    f"`{algorithm}` must be hexadecimal, in lower case, and not longer than the hash. "
                    f"Received: {digits!r}. Copy the published hash."
                )

    @property
    def algorithm(self) -> str:
        """Algorithm of the published hash: "sha256", "md5", or "" if none is published."""
        return next((algorithm for algorithm in DIGITS if getattr(self, algorithm)), "")

    @property
    def digits(self) -> str:
        """The published digits of the hash: the first ones, or all."""
        return getattr(self, self.algorithm) if self.algorithm else ""

    @property
    def is_hash_complete(self) -> bool:
        """Whether all digits of the hash are published."""
        return bool(self.algorithm) and len(self.digits) == DIGITS[self.algorithm]

    @property
    def hash_text(self) -> str:
        """Description of the hash for tables and messages."""
        if not self.algorithm:
            return "none published"
        return f"{self.algorithm} {self.digits}" + (
            "" if self.is_hash_complete else "... (no more is published)"
        )

    @property
    def file_name(self) -> str:
        """Name of the file in the URL."""
        return PurePosixPath(self.url).name

    @property
    def preset(self) -> Preset:
        """`Preset` of the source. Of a backbone's preset, only `backbone` and `input` are used."""
        if self.is_backbone:
            return importlib.import_module("mask_rcnn.model_zoo.backbones").PRESETS[self.name]
        source, _, model = self.name.partition("/")
        return importlib.import_module(f"mask_rcnn.model_zoo.{source}").PRESETS[model]

    @property
    def config(self) -> Config:
        """`Config` with the conventions of the source."""
        return self.preset.config()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of a detector. Class id i has the name `class_names[i - 1]`."""
        return tuple(category.name for category in self.preset.categories)
