"""Methods of `Detections` that convert to and from the formats of other tools.

They are methods, so that an editor lists them after `detections.`. The conversions themselves are in
`mask_rcnn.interop` and `mask_rcnn.evaluation`. These create `Detections`, so they import this module. Each
method therefore imports its conversion when it is called. The packages that it needs are optional, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np


class NamedCategory(Protocol):
    """A category with id and name, such as `structures.Category`."""

    @property
    def id(self) -> int:
        """Id of the category in its data set."""
        ...

    @property
    def name(self) -> str:
        """Name of the category in its data set."""
        ...


class ConversionMethods:
    """Conversions of the detections of one image: `to_...` writes another format, `from_...` reads it.

    Class ids are 1..K. These arguments are the same in all methods:

    - categories: The K `Category` records, such as `predictor.categories`, or K names. With them, names are
      written, and classes are read by name. Where it may be None, which is the default, class ids are used.
    - image_size: (height, width) of the image, pixels. Where it may be None, which is the default, the other
      format stores it.
    - transform: Six numbers (a, b, c, d, e, f) or a 3x3 matrix from pixels to coordinates of a map, as in
      rasterio. `from_geojson` applies its inverse. Defaults to None: the coordinates are pixels.
    """

    # pyright cannot know that `Detections` is the only subclass: the module cannot import it.

    def to_coco(self, image_id: int | str, categories: Sequence[NamedCategory | str]) -> list[dict[str, Any]]:
        """Returns a list with a COCO results entry per object; see `evaluation.coco_results.to_coco`."""
        from mask_rcnn.evaluation.coco_results import to_coco

        return to_coco(self, image_id, categories)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_coco(
        cls,
        entries: Sequence[Mapping[str, Any]],
        image_size: tuple[int, int],
        categories: Sequence[NamedCategory | str],
    ) -> Self:
        """Returns the `Detections` of one image from its COCO results or annotations, a list of dicts."""
        from mask_rcnn.evaluation.coco_results import from_coco

        return from_coco(entries, image_size, categories)  # pyright: ignore[reportArgumentType, reportReturnType]

    def to_supervision(
        self, categories: Sequence[NamedCategory | str] | None = None, compact_masks: bool = False
    ) -> Any:
        """Returns a `supervision.Detections`. `compact_masks` stores crops of the masks."""
        from mask_rcnn.interop.supervision import to_supervision

        return to_supervision(self, categories, compact_masks)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_supervision(
        cls,
        detections: Any,
        image_size: tuple[int, int] | None = None,
        categories: Sequence[NamedCategory | str] | None = None,
    ) -> Self:
        """Returns `Detections` from a `supervision.Detections`; see `mask_rcnn.interop.supervision`."""
        from mask_rcnn.interop.supervision import from_supervision

        return from_supervision(detections, image_size, categories)  # pyright: ignore[reportArgumentType, reportReturnType]

    def to_pandas(self, categories: Sequence[NamedCategory | str] | None = None) -> Any:
        """Returns a `pandas.DataFrame` with one row per object; see `mask_rcnn.interop.pandas.to_pandas`."""
        from mask_rcnn.interop.pandas import to_pandas

        return to_pandas(self, categories)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_pandas(
        cls,
        frame: Any,
        image_size: tuple[int, int] | None = None,
        categories: Sequence[NamedCategory | str] | None = None,
    ) -> Self:
        """Returns `Detections` from a `pandas.DataFrame` of `to_pandas`; see `mask_rcnn.interop.pandas`."""
        from mask_rcnn.interop.pandas import from_pandas

        return from_pandas(frame, image_size, categories)  # pyright: ignore[reportArgumentType, reportReturnType]

    def to_geojson(
        self,
        categories: Sequence[NamedCategory | str] | None = None,
        transform: Sequence[float] | np.ndarray | None = None,
        crs: str | None = None,
    ) -> dict[str, Any]:
        """Returns a GeoJSON FeatureCollection, a dict. `crs` is the name of its coordinate system."""
        from mask_rcnn.interop.geojson import to_geojson

        return to_geojson(self, categories, transform=transform, crs=crs)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_geojson(
        cls,
        collection: Mapping[str, Any],
        image_size: tuple[int, int] | None = None,
        categories: Sequence[NamedCategory | str] | None = None,
        *,
        transform: Sequence[float] | np.ndarray | None = None,
    ) -> Self:
        """Returns `Detections` from a GeoJSON FeatureCollection, a dict."""
        from mask_rcnn.interop.geojson import from_geojson

        return from_geojson(collection, image_size, categories, transform=transform)  # pyright: ignore[reportArgumentType, reportReturnType]

    def to_labelme(self, categories: Sequence[NamedCategory | str], image_path: str) -> dict[str, Any]:
        """Returns the content of a labelme file, a dict, for the image file `image_path`."""
        from mask_rcnn.interop.labelme import to_labelme

        return to_labelme(self, categories, image_path)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_labelme(cls, content: Mapping[str, Any], categories: Sequence[NamedCategory | str]) -> Self:
        """Returns `Detections` from the content of a labelme file, a dict."""
        from mask_rcnn.interop.labelme import from_labelme

        return from_labelme(content, categories)  # pyright: ignore[reportArgumentType, reportReturnType]
