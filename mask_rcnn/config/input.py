"""Configuration of the images: sizes, normalization, padding and augmentation."""

from dataclasses import dataclass
from typing import TypedDict

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges

# Transforms of `input.transforms` that support 8-bit RGB images only.
RGB_TRANSFORMS = ("color_jitter", "hue", "grayscale", "jpeg")
UINT8_TRANSFORMS = ("noise",)  # these support gray levels of 0..255 only, in any number of channels


class PixelFormat(TypedDict):
    """Arguments of the functions that read image files: number of channels, and dtype of the pixels."""

    channels: int
    dtype: str


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """Conversion of images to the network's input (section 3.1: short side of 800 pixels)."""

    short_side: int = 800  # short side of images at inference, pixels
    train_short_sides: tuple[int, ...] = (800,)  # one is drawn at random for each training image
    long_side: int = 1333  # maximum long side, pixels
    upscale_only: bool = False  # do not shrink images to `short_side` (matterport), only to `long_side`
    size_rounding: str = "round"  # of the resized sides; "floor" (torchvision), "half_even" (matterport)
    resize: str = "bilinear"  # "antialiased_uint8" (detectron2: Pillow's), "uint8" (matterport)
    pad_multiple: int = 32  # padded sides are multiples of this number of pixels
    padded_size: tuple[int, int] | None = None  # fixed (height, width) of all padded images; None: per batch
    centered: bool = False  # True: image in the center of the padding (matterport); False: at the top left
    padding: str = "mean"  # color of the padding: "mean": 0 after normalization, "black": 0 before
    mean: tuple[float, ...] | None = (123.675, 116.28, 103.53)  # ImageNet, RGB 0..255; None: backbone's own
    std: tuple[float, ...] | None = (58.395, 57.12, 57.375)  # per channel; 255 is white at any bit depth
    horizontal_flip: float = 0.5  # probability of a flip in training
    transforms: tuple[str, ...] = ()  # augmentations in training, such as "scale_jitter low=0.5 high=2.0"
    max_instances: int = 100  # maximum objects per training image; the smallest ones beyond it are ignored
    mask_crop_size: int = 112  # side of the box crops that store ground-truth masks, pixels
    bit_depth: int | None = None  # used bits of 16-bit files, such as 12; None: all 16
    channels: int = 3  # of all images: 1 gray, 3 RGB, 4 RGB and near infrared, 8 multispectral, ...
    dtype: str = "uint8"  # of the pixels; "uint16" keeps all bits of 16-bit files

    def __post_init__(self):
        check_ranges(self, "input.")
        self._check_channels()
        check(
            self.padded_size is None or min(self.padded_size) >= self.long_side,
            "Every image must fit into `padded_size`. Reduce `long_side` to its smaller side.",
            padded_size=self.padded_size,
            long_side=self.long_side,
        )
        sides = (self.short_side, *self.train_short_sides)
        check(
            max(sides) <= self.long_side,
            "Every short side must be at most `long_side`.",
            short_side=self.short_side,
            train_short_sides=self.train_short_sides,
            long_side=self.long_side,
        )

    def _check_channels(self):
        """Raises a ValueError if normalization or transforms do not fit the channels and the dtype."""
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            check(
                numbers is None or len(numbers) == self.channels,
                f"`input.{name}` must be a tuple of {self.channels} items, one for each of `input.channels`, "
                "or null to use the backbone's values for red, green and blue in turn.",
                **{name: numbers, "channels": self.channels},
            )
        unsupported = () if self.is_rgb8 else RGB_TRANSFORMS
        unsupported += UINT8_TRANSFORMS if self.dtype != "uint8" else ()
        rejected = [text for text in self.transforms if text.split()[:1] and text.split()[0] in unsupported]
        check(
            not rejected,
            f"The transforms {', '.join(unsupported)} do not support such images. Remove them from "
            "`input.transforms`. Geometric transforms, blur, copy_paste and mosaic support all images.",
            transforms=tuple(rejected),
            channels=self.channels,
            dtype=self.dtype,
        )

    @property
    def is_rgb8(self) -> bool:
        """Whether the images are 8-bit RGB, which every part of the package supports."""
        return self.channels == 3 and self.dtype == "uint8"

    @property
    def pixel_format(self) -> PixelFormat:
        """Dict of the arguments `channels` and `dtype` of the functions that read image files."""
        return {"channels": self.channels, "dtype": self.dtype}

    @property
    def counts_per_level(self) -> int:
        """Size of a gray level of 0..255 in units of a pixel value: 16 for 12 bits, 1 for uint8."""
        return 2 ** ((self.bit_depth or 16) - 8) if self.dtype == "uint16" else 1
