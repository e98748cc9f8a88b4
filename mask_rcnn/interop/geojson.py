"""Converts detections to and from GeoJSON (RFC 7946).

Each object is a Feature with a polygon, in pixels or in map coordinates.

Facts about the format:

- A polygon is a list of closed rings: the exterior ring, counterclockwise, then its holes, clockwise.
- A MultiPolygon has several polygons. A Feature without a location has the geometry null.
- A FeatureCollection may have other members. `image_size` is one of them, [height, width].

Rings follow the edges of pixels. Reading a file gives exactly the pixels of the mask. Parts of a mask that
touch only at a corner become separate polygons, so that each is valid for GEOS (QGIS, PostGIS, Shapely).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mask_rcnn.data.masks import mask_in_window
from mask_rcnn.formats.outlines import polygons_with_holes
from mask_rcnn.interop.classes import class_ids_of, class_names, resolve_image_size
from mask_rcnn.structures import Category, Detections, smallest_crop

DECIMALS = 6  # decimal places of pixel coordinates after a transform and its inverse
NO_POINTS = np.zeros((0, 2))


def to_geojson(
    detections: Detections,
    categories: Sequence[Category | str] | None = None,
    transform: Sequence[float] | np.ndarray | None = None,
    *,
    crs: str | None = None,
) -> dict:
    """Converts detections to a GeoJSON FeatureCollection.

    Args:
        detections: A `Detections` of N objects. Without masks, the geometries are the boxes.
        categories: The K `Category` records, or names, for the property `class_name`. Defaults to None,
            without names.
        transform: (a, b, c, d, e, f) or a 3x3 matrix, as rasterio's `dataset.transform`. It maps pixel
            coordinates (column, row) to x = a * column + b * row + c and y = d * column + e * row + f. GDAL
            has
            another order: c, a, b, f, d, e. Defaults to None: pixels, y downward.
        crs: Name of the coordinate system, such as "EPSG:32632". RFC 7946 allows longitude and latitude only,
            and no name. GDAL and QGIS read the older member `crs`. Defaults to None.

    Returns:
        Dict for `json.dump` or `geopandas.GeoDataFrame.from_features`. The properties of each Feature are:

        - `class_id`: int, 1..K.
        - `score`: float, 0..1.
        - `box`: [x1, y1, x2, y2], pixels.
        - `shape`: "mask", or "box" without masks.
        - `class_name`: str, with `categories`.
        - `keypoints`: list of [x, y, score], pixels, if there are any.
        - `attributes`: dict, if there are any.
    """
    names = class_names(detections.class_ids.tolist(), categories) if categories is not None else None
    matrix = _matrix(transform)
    features = [
        {
            "type": "Feature",
            "properties": _properties(detections, i, names),
            "geometry": _geometry(_polygons(detections, i), matrix),
        }
        for i in range(len(detections))
    ]
    collection = {
        "type": "FeatureCollection",
        "image_size": list(detections.image_size),
        "features": features,
    }
    return collection | ({"crs": {"type": "name", "properties": {"name": crs}}} if crs else {})


def _properties(detections, i, names):
    y1, x1, y2, x2 = detections.boxes[i].tolist()
    properties = {
        "class_id": int(detections.class_ids[i]),
        "score": float(detections.scores[i]),
        "box": [x1, y1, x2, y2],
        "shape": "box" if detections.masks is None else "mask",
    }
    if names is not None:
        properties["class_name"] = names[i]
    if detections.keypoints is not None:
        properties["keypoints"] = detections.keypoints[i].tolist()
    if detections.attributes:
        values = {name: np.asarray(each)[i].tolist() for name, each in detections.attributes.items()}
        properties["attributes"] = values
    return properties


def _polygons(detections, i):
    """Returns the polygons of an object, each a list of rings `[N, 2]` (x, y) in pixels, exterior first."""
    if detections.masks is None:
        y1, x1, y2, x2 = detections.boxes[i].astype("float64")
        return [[np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])]]
    origin = detections.mask_origins[i][::-1]
    return [[ring + origin for ring in rings] for rings in polygons_with_holes(detections.masks[i])]


def _geometry(polygons, matrix):
    if not polygons:
        return None
    coordinates = [
        [_ring(ring, matrix, is_hole=number > 0) for number, ring in enumerate(rings)] for rings in polygons
    ]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _ring(points, matrix, is_hole):
    """Returns a closed ring, a list of [x, y]: exteriors counterclockwise, holes clockwise."""
    if matrix is not None:
        points = points @ matrix[:, :2].T + matrix[:, 2]
    x, y = points.T.astype("float64")
    is_counterclockwise = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0
    points = points[::-1] if is_counterclockwise == is_hole else points
    return [*points.tolist(), points[0].tolist()]


def _matrix(transform):
    """Returns the transform as `[2, 3]` float64, or None."""
    if transform is None:
        return None
    numbers = np.ravel(np.asarray(transform, "float64"))
    matrix = numbers[:6].reshape(2, 3) if len(numbers) in (6, 9) else np.zeros((2, 3))
    if not np.linalg.det(matrix[:, :2]):
        raise ValueError(
            "`transform` must be six numbers a, b, c, d, e, f that can be inverted, or a 3x3 matrix. "
            f"Received: {numbers.tolist()}. Take `dataset.transform` of rasterio."
        )
    return matrix


def from_geojson(
    collection: dict,
    image_size: tuple[int, int] | None = None,
    categories: Sequence[Category | str] | None = None,
    *,
    transform: Sequence[float] | np.ndarray | None = None,
) -> Detections:
    """Converts the polygons of a GeoJSON FeatureCollection to `Detections`.

    Args:
        collection: Dict, the content of a GeoJSON file. The default `score` is 1. The default `box` is the
            bounding box of the geometry.
        image_size: (height, width), pixels. Defaults to None, the member `image_size`.
        categories: The K `Category` records, or names. With them, classes are read from the property
            `class_name`. Defaults to None, the property `class_id`.
        transform: As in `to_geojson`. Its inverse is applied. Defaults to None.

    Raises:
        ValueError: If the collection has another structure, or if a class or the image size is missing.
    """
    features = collection.get("features") if isinstance(collection, dict) else None
    if not isinstance(features, list):
        raise ValueError(
            "Expected a FeatureCollection with `features`. "
            f"Received: {type(collection).__name__}. Give the content of the file, `json.load(file)`."
        )
    size, matrix = (
        resolve_image_size(image_size, collection.get("image_size"), "the collection"),
        _matrix(transform),
    )
    polygons = [_read_polygons(feature["geometry"], matrix, i) for i, feature in enumerate(features)]
    properties = [feature["properties"] for feature in features]
    fields: dict[str, Any] = {"masks": None, "mask_origins": None}
    if not features or any(each.get("shape") != "box" for each in properties):
        crops = [_crop(each, size) for each in polygons]
        fields = {
            "masks": tuple(crop for crop, _ in crops),
            "mask_origins": np.reshape([origin for _, origin in crops], (-1, 2)),
        }
    if properties and all("keypoints" in each for each in properties):
        fields["keypoints"] = np.array([each["keypoints"] for each in properties], "float32")
    boxes = [each.get("box") or _extent(rings) for each, rings in zip(properties, polygons, strict=True)]
    return Detections(
        boxes=np.reshape(boxes, (-1, 4))[:, [1, 0, 3, 2]],
        scores=np.array([each.get("score", 1.0) for each in properties], "float32"),
        class_ids=np.array(_class_ids(properties, categories), "int32"),
        image_size=size,
        attributes=_attributes(properties),
        **fields,
    )


def _class_ids(properties, categories):
    field = "class_id" if categories is None else "class_name"
    missing = [i for i, each in enumerate(properties) if field not in each]
    if missing:
        raise ValueError(
            f"Every feature needs the property `{field}`. Received: feature {missing[0]} without it. "
            "Add it; `class_name` needs `categories` as well."
        )
    values = [each[field] for each in properties]
    return values if categories is None else class_ids_of(values, categories)


def _attributes(properties):
    """Returns `{name: [N, ...]}` of the attributes that all features have."""
    attributes = [each.get("attributes", {}) for each in properties]
    first = attributes[0] if attributes else {}
    names = [name for name in first if all(name in each for each in attributes)]
    return {name: np.array([each[name] for each in attributes]) for name in names}


def _read_polygons(geometry, matrix, number):
    """Returns the polygons of a geometry in pixels, each a list of rings `[N, 2]` (x, y)."""
    if geometry is None:
        return []
    if geometry.get("type") not in ("Polygon", "MultiPolygon"):
        raise ValueError(
            "Geometries must be Polygon, MultiPolygon or null. "
            f"Received: feature {number} with {geometry.get('type')!r}. Remove the feature."
        )
    is_single = geometry["type"] == "Polygon"
    polygons = [geometry["coordinates"]] if is_single else geometry["coordinates"]
    return [[_pixels(np.array(ring, "float64")[:, :2], matrix) for ring in rings] for rings in polygons]


def _pixels(points, matrix):
    if matrix is None:
        return points
    return np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T.round(DECIMALS)


def _extent(polygons):
    """Returns the bounding box [x1, y1, x2, y2] of the exterior rings, or zeros without rings."""
    points = np.concatenate([NO_POINTS, *(ring for rings in polygons for ring in rings[:1])])
    return [*points.min(axis=0), *points.max(axis=0)] if len(points) else [0.0] * 4


def _crop(polygons, size):
    """Returns the mask of polygons as its smallest crop, and (y, x) of the crop's first pixel."""
    x1, y1, x2, y2 = np.clip(_extent(polygons), 0, (*size[::-1], *size[::-1]))
    window = (int(y1), int(x1), int(np.ceil(y2)), int(np.ceil(x2)))
    if window[2] == window[0] or window[3] == window[1]:
        return np.zeros((0, 0), bool), (0, 0)
    mask = np.zeros((window[2] - window[0], window[3] - window[1]), bool)
    for outline, *holes in polygons:
        part = mask_in_window([outline.ravel()], window)
        for hole in holes:
            part &= ~mask_in_window([hole.ravel()], window)
        mask |= part
    return smallest_crop(mask, window[:2])
