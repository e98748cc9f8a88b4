"""Writes COCO annotations as TFRecord files."""

from mask_rcnn.data.findings import Findings
from mask_rcnn.formats.conversion import Selection, read, write


def write_shards(json_path, images_dir, folder, count=None):
    """Writes annotations as TFRecord files to `folder`; returns their file name pattern and the findings."""
    findings = Findings()
    content = read("coco", json_path, images_dir)
    selection = Selection(num_shards=count)
    write("tfrecord", content, images_dir, out=folder, selection=selection, findings=findings)
    return f"{folder}/*.tfrecord", findings
