"""What is known of one published file of weights."""

import importlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

DIGITS = {"sha256": 64, "md5": 32}  # hexadecimal digits of a whole hash


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A published file of weights: facts only, each read where the source publishes it.

    What could not be confirmed there is None or shorter, and said in `unconfirmed`.

    Args:
        name: the source, then the source's own name: "torchvision/maskrcnn_resnet50_fpn".
        what: the architecture and what it was trained on, in a few words.
        url: where the source offers the file.
        file_format: one of the formats of `readers.read_state_dict`.
        licence: of the weights.
        source: where the URL and the hash were read.
        published: where the AP below is published, and on what it was measured.
        sha256: first hexadecimal digits of the file's hash, as many as are published; 64 are the whole.
        md5: the same for MD5, where the source publishes that instead.
        box_ap: AP of boxes, percent; also `mask_ap`, `keypoint_ap`. Not measured again by us.
        top1: accuracy on ImageNet, percent, of a backbone.
        unconfirmed: what could not be confirmed, and why.
        packaged: path of the file in a pip package that is installed with this one: nothing is fetched.
        is_backbone: an ImageNet classifier, for `backbone.weights`, instead of a whole detector.
    """

    name: str
    what: str
    url: str
    file_format: str
    licence: str
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
                raise ValueError(f"`{algorithm}` is hexadecimal, lower case. Received: {digits!r}.")

    @property
    def algorithm(self):
        """The hash that is published: "sha256", "md5", or "" for none."""
        return next((algorithm for algorithm in DIGITS if getattr(self, algorithm)), "")

    @property
    def digits(self):
        """What is known of that hash: its first digits, or all of them."""
        return getattr(self, self.algorithm) if self.algorithm else ""

    @property
    def is_hash_whole(self):
        return bool(self.algorithm) and len(self.digits) == DIGITS[self.algorithm]

    @property
    def hash_text(self):
        """The hash in words, for tables and errors."""
        if not self.algorithm:
            return "none published"
        return f"{self.algorithm} {self.digits}" + (
            "" if self.is_hash_whole else "... (no more is published)"
        )

    @property
    def file_name(self):
        return PurePosixPath(self.url).name

    @property
    def preset(self):
        """The `Preset`: config, table and class names; of a backbone only `backbone` and `input` count."""
        if self.is_backbone:
            return importlib.import_module("mask_rcnn.model_zoo.backbones").PRESETS[self.name]
        source, _, own_name = self.name.partition("/")
        return importlib.import_module(f"mask_rcnn.model_zoo.{source}").PRESETS[own_name]

    @property
    def config(self):
        """The conventions of its source as a `Config`."""
        return self.preset.config()

    @property
    def class_names(self):
        return tuple(category.name for category in self.preset.categories)
