"""Cuts the images of a data set into tiles: writes one image file per tile, and a COCO JSON of all tiles.

- A mask that a tile cuts becomes an RLE of exactly its pixels in the tile. Other masks keep their form.
- An object with too few pixels in a tile becomes a crowd region there. Training uses it neither as an object
  nor as background, and evaluation ignores it.
- Keypoints outside the tile become unlabeled (0, 0, 0).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2

from mask_rcnn.data.augmentation.occlusion import MIN_VISIBLE
from mask_rcnn.data.findings import Findings
from mask_rcnn.data.image_io.image_windows import open_image
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.formats.conversion import Selection, output_paths, select
from mask_rcnn.formats.dataset_files import annotations_by_image, relative_name
from mask_rcnn.formats.image_folder import ImageFolder
from mask_rcnn.formats.registry import Track, no_progress
from mask_rcnn.formats.tile_annotations import cut_annotation
from mask_rcnn.prediction.tiles import Tiling
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import AnyPath

IMAGES = "images"  # folder of the tiles
JPEG_SUFFIXES = (".jpg", ".jpeg")  # tiles of these files are JPEG files, tiles of all others PNG files
JPEG_OPTIONS = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 3)  # 0 to 9; higher is much slower and saves only a few percent


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """Settings for cutting a data set into tiles.

    Args:
        tiling: `Tiling`, size and overlap of the tiles.
        min_visible: Float from 0 to 1. An object with a smaller fraction of its pixels in a tile becomes a
            crowd region there. Defaults to `MIN_VISIBLE`.
        keep_empty: Whether to write tiles without objects. Crowd regions do not count as objects. Defaults to
            False.
    """

    tiling: Tiling
    min_visible: float = MIN_VISIBLE
    keep_empty: bool = False

    def __post_init__(self):
        if not 0 <= self.min_visible <= 1:
            raise ValueError(
                "`--min-visible` must be the fraction of an object that a tile must show, from 0 to 1. "
                f"Received: {self.min_visible}. Give a fraction such as 0.1."
            )


def write_tiles(
    content: dict,
    images_dir: AnyPath,
    out: str | Path,
    *,
    cutting: Cutting,
    selection: Selection | None = None,
    findings: Findings | None = None,
    track: Track = no_progress,
) -> tuple[dict[str, dict], list[Path]]:
    """Writes the tiles of a data set and their annotations.

    Args:
        content: Content of a COCO JSON.
        images_dir: Folder that the `file_name`s are relative to.
        out: Path of the new folder, which gets `images` and `instances.json`. With a split, the whole images
            are split, and the files are `instances_train.json` and `instances_val.json`.
        cutting: `Cutting`.
        selection: `Selection`. Defaults to None, everything.
        findings: `Findings`. What is changed or left out is added. Defaults to None.
        track: Function that reports progress, see `Source`. Defaults to `no_progress`.

    Returns:
        Tuple of `{part: content}` as written and the list of the paths of the JSON files. Images have two
        more fields: `tile_of`, `file_name` of the whole image; `tile_origin`, (x, y) of the tile in it.

    Raises:
        ValueError: If `out` exists, an image cannot be read, or no tile contains an object.
    """
    selection, findings, out = selection or Selection(), findings or Findings(), Path(out)
    parts = select(content, selection, findings)
    output_paths("tiles", out, selection.train_fraction is not None)
    names = {part: f"instances_{part}.json" if part else "instances.json" for part in parts}
    with atomic_write(out) as folder:
        folder.mkdir()
        writer = _Writer(ImageFolder(images_dir), folder / IMAGES, cutting=cutting, findings=findings)
        written = {part: writer.write(each, track) for part, each in parts.items()}
        for part, each in written.items():
            write_json(folder / names[part], each)
    return written, [out / name for name in names.values()]


class _Writer:
    """Writes the tiles of all parts of a data set to one folder.

    Args:
        images: `ImageFolder` of the whole images.
        folder: Path of the folder for the tiles.
        cutting: `Cutting`.
        findings: `Findings`.
    """

    def __init__(self, images, folder, *, cutting, findings):
        self._images, self._folder, self._cutting, self._findings = images, folder, cutting, findings
        self._names = set()

    def write(self, content, track):
        """Writes the tiles of one part. Returns the content of its COCO JSON."""
        images, annotations = [], []
        whole_images = annotations_by_image(content)
        for image, objects in track(whole_images, len(whole_images), "cutting"):
            for tile, tile_annotations in self._write_tiles(image, objects):
                images.append({"id": len(images) + 1, **tile})
                for each in tile_annotations:
                    ids = {"id": len(annotations) + 1, "image_id": len(images)}
                    annotations.append({**each, **ids})
        if not images:
            raise ValueError(
                f"Expected objects in the tiles. Received: {len(whole_images)} images without objects. "
                "Use `--keep-empty` to write tiles without objects."
            )
        return {**content, "images": images, "annotations": annotations}

    def _write_tiles(self, image, objects):
        """Writes the tiles of an image. Yields (image entry, annotations) of each, without ids."""
        name, size = image["file_name"], (image["height"], image["width"])
        path = self._images.find(name, "the annotations")
        pixels = open_image(path)
        if pixels.size != size:
            raise ValueError(
                "The annotations must have the size of the image (EXIF orientation applied). "
                f"Received: (height, width)={size} in the annotations, {pixels.size} in {path}. "
                "Use the image that was annotated."
            )
        windows = self._cutting.tiling.windows(size)
        tile_annotations = [[] for _ in windows]
        for each in objects:
            for number, part in self._cut(each, windows, size):
                tile_annotations[number].append(part)
        for window, annotations in zip(windows.tolist(), tile_annotations, strict=True):
            origin = window[1::-1]
            if not self._cutting.keep_empty and all(each["iscrowd"] for each in annotations):
                self._findings.repair(
                    "tiles without objects were left out (`--keep-empty` keeps them)", f"{name} at {origin}"
                )
                continue
            tile = self._new_name(relative_name(name), origin, is_whole=len(windows) == 1)
            (self._folder / tile).parent.mkdir(parents=True, exist_ok=True)
            if len(windows) == 1:
                shutil.copyfile(path, self._folder / tile)
            else:
                _write_pixels(self._folder / tile, pixels.read(window))
            sides = {"height": window[2] - window[0], "width": window[3] - window[1]}
            yield {"file_name": str(tile), **sides, "tile_of": name, "tile_origin": origin}, annotations

    def _new_name(self, name, origin, is_whole):
        """Returns a unique path in the folder for a tile."""
        if not is_whole:
            suffix = name.suffix if name.suffix.lower() in JPEG_SUFFIXES else ".png"
            name = name.with_name(f"{name.stem}_x{origin[0]}_y{origin[1]}{suffix}")
        unique, number = name, 2
        while unique in self._names:
            unique, number = name.with_stem(f"{name.stem}-{number}"), number + 1
        self._names.add(unique)
        return unique

    def _cut(self, annotation, windows, size):
        """Yields (index of the window, annotation) for each window that contains a pixel of an object."""
        where, parts = f"annotation {annotation['id']}", list(cut_annotation(annotation, windows, size))
        if not parts:
            self._findings.repair("objects without a pixel in any tile were left out", where)
        for number, fraction, part in parts:
            if fraction < 1 and part.get("segmentation"):
                self._findings.repair("masks that a tile cuts became run lengths", where)
            if fraction < self._cutting.min_visible and not part["iscrowd"]:
                self._findings.repair(
                    f"objects of which a tile shows less than {self._cutting.min_visible:g} became crowd "
                    "regions there, which training ignores",
                    where,
                )
                part["iscrowd"] = 1
            yield number, part


def _write_pixels(path, samples):
    """Writes RGB pixels, `[H, W, 3]` uint8 or uint16, as a JPEG or PNG file, by the suffix of `path`."""
    options = JPEG_OPTIONS if path.suffix.lower() in JPEG_SUFFIXES else PNG_OPTIONS
    if not cv2.imwrite(str(path), samples[..., ::-1], options):
        raise OSError(f"Expected a writable path for a tile. Received: {path}. Check its folder.")
