"""Converts annotation formats of other tools to COCO instances and back; see docs/extending/format.md.

Each format has a module. The import of this package registers all formats.
"""

from mask_rcnn.formats import (  # noqa: F401
    cityscapes,
    coco,
    coco_results,
    cvat,
    cvat_writer,
    label_studio,
    label_studio_writer,
    labelme,
    mask_pngs,
    tfrecord,
    via,
    voc,
    voc_writer,
    yolo,
)
