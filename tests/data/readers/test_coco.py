import copy
import json

import numpy as np
import pytest
from absl import logging
from PIL import Image

from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.structures import Category

CONTENT = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 10, "width": 20},
        {"id": 9, "file_name": "b.png", "height": 10, "width": 20},
    ],
    "categories": [{"id": 44, "name": "cup"}, {"id": 3, "name": "car"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 44,
            "bbox": [2, 1, 4, 3],
            "area": 12,
            "iscrowd": 0,
            "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]],
        },
        {
            "id": 2,
            "image_id": 7,
            "category_id": 3,
            "bbox": [0, 0, 1, 10],
            "area": 10,
            "iscrowd": 1,
            "segmentation": {"size": [10, 20], "counts": [0, 10, 190]},
        },
    ],
}


@pytest.fixture
def read(tmp_path):
    """A function that writes COCO content beside two images of 10 x 20 pixels and reads it."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)

    def write_and_read(content=CONTENT, max_bad_images=0.01):
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_coco(path, tmp_path, max_bad_images=max_bad_images)

    return write_and_read


def changed(part, index, **fields):
    """Returns a copy of `CONTENT` with other fields in one entry. None removes a field."""
    content = copy.deepcopy(CONTENT)
    entry = content[part][index]
    entry.update(fields)
    for name in [name for name, value in fields.items() if value is None]:
        del entry[name]
    return content


def test_ids_with_gaps_become_1_to_k_in_the_order_of_the_ids(read):
    dataset = read()
    assert dataset.categories == (Category(3, "car"), Category(44, "cup"))
    assert [annotation.class_id for annotation in dataset.images[0].annotations] == [2, 1]


def test_boxes_become_yxyx(read):
    assert read().images[0].annotations[0].box == (1, 2, 4, 6)


def test_crowds_and_images_without_objects_are_kept(read):
    first, second = read().images
    assert [annotation.crowd for annotation in first.annotations] == [False, True]
    assert full_mask(first.annotations[1].segmentation, 10, 20).sum() == 10
    assert second.annotations == ()


def test_a_box_that_reaches_out_of_the_image_is_clipped(read):
    dataset = read(changed("annotations", 0, bbox=[-1, 8.5, 30, 5]))
    assert dataset.images[0].annotations[0].box == (8.5, 0, 10, 20)


def test_area_crowd_flag_and_segmentation_may_be_left_out(read):
    annotation = (
        read(changed("annotations", 0, area=None, iscrowd=None, segmentation=None)).images[0].annotations[0]
    )
    assert (annotation.area, annotation.crowd, annotation.segmentation) == (12, False, None)


def test_a_rotated_photo_has_the_size_that_people_see(read, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 20)).save(tmp_path / "a.png", exif=exif)  # stored upright, rotated by EXIF
    image = read().images[0]
    assert (image.height, image.width) == (10, 20)


def test_a_missing_json_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a COCO json.*nowhere\.json"):
        read_coco(tmp_path / "nowhere.json", tmp_path)


def test_a_missing_folder_is_named(read, tmp_path):
    read()
    with pytest.raises(FileNotFoundError, match=r"folder of the images.*nowhere"):
        read_coco(tmp_path / "instances.json", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', r"instances\.json', which is not json.*ends too early"),
        ("3", "without a list `images`"),
        ([{"image_id": 1, "score": 0.5}], "Give the file with the ground truth, not one with results"),
        ({"images": [], "categories": []}, "without a list `annotations`"),
        ({"images": [], "categories": [], "annotations": []}, "0 images and 0 categories"),
        (changed("images", 1, file_name=None), "`file_name` of an image must be text .1: image 9 with"),
        (changed("images", 1, height="ten"), r"`height` of an image must be a whole.*images\[1\]"),
        (
            changed("annotations", 1, category_id=5),
            "declared in `categories`.*annotation 2 with category_id=5",
        ),
    ],
)
def test_a_json_that_is_no_coco_is_an_error_that_names_the_place(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("annotations", 0, segmentation=[[2, 1, 6, 4, 5, 5, 3]]), "three points.*annotation 1"),
        (
            changed("annotations", 0, segmentation=[[2, 1, 6, 4, 5, float("nan")]]),
            "three points.*annotation 1",
        ),
        (changed("annotations", 0, segmentation="2 1 6 4"), "list of polygons.*annotation 1"),
        (
            changed("annotations", 0, bbox=[20, 0, 5, 5]),
            r"not outside.*annotation 1 with bbox=\[20, 0, 5, 5\]",
        ),
        (changed("annotations", 0, bbox=[2, 2, 0, 5], segmentation=None), "not empty.*annotation 1"),
        (changed("annotations", 1, bbox=None, segmentation=None), "`bbox` must be.*annotation 2"),
        (changed("annotations", 0, bbox=[2, 2, 5]), "`bbox` must be"),
        (changed("annotations", 0, bbox=[2, float("nan"), 5, 5]), "`bbox` must be"),
        (
            changed("annotations", 1, segmentation={"size": [20, 10], "counts": [0, 10, 190]}),
            r"size=\[20, 10\], counts=.* in an image of height=10, width=20. This is .width, height.",
        ),
        (
            changed("annotations", 1, segmentation={"size": [10, 20], "counts": [0, 10, 180]}),
            "annotation 2 with a sum of 190",
        ),
        (changed("images", 0, height=11), "height=11, width=20 in the json"),
        (changed("images", 0, file_name="c.png"), r"c\.png"),
    ],
)
def test_an_unusable_image_is_named_with_the_reason(read, content, message):
    with pytest.raises(ValueError, match=rf"(?s)1 of 2:.*image 7 \(.*{message}"):
        read(content)


def test_few_unusable_images_are_left_out_with_one_report(read, tmp_path, monkeypatch):
    reports = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: reports.append(message % values))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    dataset = read(max_bad_images=0.5)
    assert [image.id for image in dataset.images] == [7]
    assert len(reports) == 1
    assert "1 of 2 images are left out" in reports[0]
    assert "image 9 ('b.png')" in reports[0]
    assert dataset.warnings[0] in reports[0]


def test_no_usable_image_at_all_is_an_error(read, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="2 of 2"):
        read(max_bad_images=1.0)


@pytest.mark.parametrize(
    ("name", "images", "objects", "crowds"),
    [("coco2017_permissive", 92, 820, 9), ("fruits_nuts", 14, 127, 0), ("nuclei_dsb2018", 564, 24375, 0)],
)
def test_real_data_sets_are_read_completely(shared_data, name, images, objects, crowds):
    folder = shared_data / name
    dataset = read_coco(folder / "annotations" / "instances_train.json", folder / "images")
    crowd = [annotation.crowd for image in dataset.images for annotation in image.annotations]
    assert (len(dataset), crowd.count(False), crowd.count(True)) == (images, objects, crowds)
    assert dataset.warnings == ()


def test_coco_masks_have_their_stated_area(shared_data):
    folder = shared_data / "coco2017_permissive"
    dataset = read_coco(folder / "annotations" / "instances_val.json", folder / "images")
    image = dataset.images[0]
    for annotation in image.annotations:
        area = full_mask(annotation.segmentation, image.height, image.width).sum()
        np.testing.assert_allclose(area, annotation.area, rtol=0.1, atol=15)
