"""Methods of `Detections` that convert to and from the formats of other tools.

The conversions are in `mask_rcnn/interop`, which is imported when a method is called. The packages that it
needs are optional.
"""


class ConversionMethods:
    """Conversions of the detections of one image: `to_...` writes another format, `from_...` reads it.

    Class ids are 1..K. `categories` are the K `Category` records, such as `predictor.categories`, or names.
    With them, names are written, and classes are read by name.
    """

    def to_coco(self, image_id, categories):
        """Returns the entries of a COCO results file; see `mask_rcnn.evaluation.coco_results.to_coco`."""
        from mask_rcnn.evaluation.coco_results import to_coco

        return to_coco(self, image_id, categories)

    @classmethod
    def from_coco(cls, entries, image_size, categories):
        """Returns `Detections` from COCO results or annotations; see `evaluation.coco_results.from_coco`."""
        from mask_rcnn.evaluation.coco_results import from_coco

        return from_coco(entries, image_size, categories)

    def to_supervision(self, categories=None, compact_masks=False):
        """Returns a `supervision.Detections`; see `mask_rcnn.interop.supervision.to_supervision`."""
        from mask_rcnn.interop.supervision import to_supervision

        return to_supervision(self, categories, compact_masks)

    @classmethod
    def from_supervision(cls, detections, image_size=None, categories=None):
        """Returns the `Detections` of a `supervision.Detections`; see `mask_rcnn.interop.supervision`."""
        from mask_rcnn.interop.supervision import from_supervision

        return from_supervision(detections, image_size, categories)

    def to_pandas(self, categories=None):
        """Returns a `pandas.DataFrame` with one row per object; see `mask_rcnn.interop.pandas.to_pandas`."""
        from mask_rcnn.interop.pandas import to_pandas

        return to_pandas(self, categories)

    @classmethod
    def from_pandas(cls, frame, image_size=None, categories=None):
        """Returns the `Detections` of a `pandas.DataFrame`; see `mask_rcnn.interop.pandas.from_pandas`."""
        from mask_rcnn.interop.pandas import from_pandas

        return from_pandas(frame, image_size, categories)

    def to_geojson(self, categories=None, transform=None, crs=None):
        """Returns a GeoJSON FeatureCollection, a dict; see `mask_rcnn.interop.geojson.to_geojson`."""
        from mask_rcnn.interop.geojson import to_geojson

        return to_geojson(self, categories, transform, crs=crs)

    @classmethod
    def from_geojson(cls, collection, image_size=None, categories=None, transform=None):
        """Returns the `Detections` of a GeoJSON FeatureCollection; see `mask_rcnn.interop.geojson`."""
        from mask_rcnn.interop.geojson import from_geojson

        return from_geojson(collection, image_size, categories, transform=transform)

    def to_labelme(self, categories, image_path):
        """Returns the content of a labelme file, a dict; see `mask_rcnn.interop.labelme.to_labelme`."""
        from mask_rcnn.interop.labelme import to_labelme

        return to_labelme(self, categories, image_path)

    @classmethod
    def from_labelme(cls, content, categories):
        """Returns the `Detections` of the content of a labelme file; see `mask_rcnn.interop.labelme`."""
        from mask_rcnn.interop.labelme import from_labelme

        return from_labelme(content, categories)
