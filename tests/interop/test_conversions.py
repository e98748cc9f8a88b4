"""Tests of conversions of `Detections` to the formats of other tools and back."""

import io
import json
import sys

import numpy as np
import pytest

from mask_rcnn.structures import Category, Detections

CATEGORIES = (Category(3, "car"), Category(90, "toothbrush"))
IMAGE_SIZE = (60, 80)
POINTS = ([[1.5, 2.25, 0.5], [3, 4.75, 0.25]], [[5, 6, 1], [7, 8, 0]], [[0, 0, 0], [1, 1, 0.1]])


def ring_and_island():
    """Returns a mask with a hole, with pixels that touch at a corner, and with a second part."""
    mask = np.zeros((20, 30), bool)
    mask[2:12, 3:20] = True
    mask[5:9, 6:14] = False
    mask[12, 20] = True  # touches the corner of the ring
    mask[15:18, 22:29] = True
    return mask


def three_objects(**fields):
    masks = (ring_and_island(), np.ones((4, 5), bool), np.zeros((0, 0), bool))
    found = {"masks": masks, "mask_origins": [(10, 20), (55, 70), (0, 0)], **fields}
    boxes = [[10.125, 20.3, 30.7, 50.1], [55, 70, 59, 75], [1, 2, 3, 4]]
    return Detections(boxes, [0.91, 0.5, 0.1], [2, 1, 2], IMAGE_SIZE, **found)


def assert_equal(found, expected, boxes=True):
    names = ("boxes", "scores", "class_ids", "keypoints") if boxes else ("scores", "class_ids", "keypoints")
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.image_size == expected.image_size
    assert (found.masks is None) == (expected.masks is None)
    for i in range(len(expected) if expected.masks is not None else 0):
        np.testing.assert_array_equal(found.full_mask(i), expected.full_mask(i))
    assert set(found.attributes) == set(expected.attributes)
    for name, values in expected.attributes.items():
        np.testing.assert_array_equal(found.attributes[name], values)


def through_coco(detections):
    text = json.dumps(detections.to_coco(7, CATEGORIES))
    return Detections.from_coco(json.loads(text), IMAGE_SIZE, CATEGORIES)


def through_supervision(detections):
    return Detections.from_supervision(detections.to_supervision(CATEGORIES), IMAGE_SIZE, CATEGORIES)


def through_compact_supervision(detections):
    return Detections.from_supervision(detections.to_supervision(compact_masks=True))


def through_pandas(detections):
    return Detections.from_pandas(detections.to_pandas(CATEGORIES), IMAGE_SIZE, CATEGORIES)


def through_csv(detections):
    pandas = pytest.importorskip("pandas")
    text = detections.to_pandas().to_csv(index=False)
    return Detections.from_pandas(pandas.read_csv(io.StringIO(text)), IMAGE_SIZE)


def through_geojson(detections):
    text = json.dumps(detections.to_geojson(CATEGORIES))
    return Detections.from_geojson(json.loads(text), categories=CATEGORIES)


def through_a_map(detections):
    transform = (0.3, 0.01, 650000.0, 0.02, -0.3, 5200000.0)
    text = json.dumps(detections.to_geojson(transform=transform, crs="EPSG:32632"))
    return Detections.from_geojson(json.loads(text), transform=np.array([*transform, 0, 0, 1]).reshape(3, 3))


EXACT = (
    through_coco,
    through_supervision,
    through_compact_supervision,
    through_pandas,
    through_csv,
    through_geojson,
    through_a_map,
)


@pytest.mark.parametrize("convert", EXACT)
def test_everything_comes_back(convert):
    attributes = {"tracker_id": np.array([4, 5, 6]), "age": np.array([0.5, 1.5, 2.5])}
    detections = three_objects(keypoints=POINTS, attributes={} if convert is through_coco else attributes)
    expected = detections.boxes
    found = convert(detections)
    if convert is through_coco:  # COCO's x2 is x + width
        np.testing.assert_allclose(found.boxes, expected, rtol=1e-6)
    assert_equal(found, detections, boxes=convert is not through_coco)


@pytest.mark.parametrize("convert", EXACT)
def test_boxes_without_masks_come_back(convert):
    detections = three_objects(masks=None, mask_origins=None)
    assert_equal(convert(detections), detections, boxes=convert is not through_coco)


@pytest.mark.parametrize("convert", [each for each in EXACT if each is not through_coco])
def test_no_detections_come_back_as_none(convert):
    found = convert(three_objects().select([]))
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.image_size == IMAGE_SIZE


def test_supervision_counts_classes_from_0_and_has_their_names():
    found = three_objects().to_supervision(CATEGORIES)
    assert found.class_id.tolist() == [1, 0, 1]
    assert found.data["class_name"].tolist() == ["toothbrush", "car", "toothbrush"]
    np.testing.assert_allclose(found.xyxy[0], [20.3, 10.125, 50.1, 30.7], rtol=1e-6)
    assert found.mask.shape == (3, *IMAGE_SIZE) and found.mask.dtype == bool
    assert len(found[found.class_id == 1]) == 2


def test_the_annotators_of_supervision_draw_what_was_converted():
    supervision = pytest.importorskip("supervision")
    detections = three_objects().select([0, 1])
    for compact in (False, True):
        picture = supervision.MaskAnnotator(opacity=1).annotate(
            np.zeros((*IMAGE_SIZE, 3), "uint8"), detections.to_supervision(CATEGORIES, compact)
        )
        np.testing.assert_array_equal(picture.any(axis=2), detections.full_mask(0) | detections.full_mask(1))


def test_a_frame_has_a_row_for_each_object_and_takes_further_columns():
    frame = three_objects().to_pandas(CATEGORIES).assign(image="a.jpg")
    assert frame["class_name"].tolist() == ["toothbrush", "car", "toothbrush"]
    assert frame.loc[1, ["x1", "y1", "x2", "y2"]].tolist() == [70, 55, 75, 59]
    back = Detections.from_pandas(frame[frame.score > 0.3].drop(columns="class_id"), categories=CATEGORIES)
    assert back.class_ids.tolist() == [2, 1]
    assert back.attributes["image"].tolist() == ["a.jpg"] * 2


def test_holes_are_rings_of_geojson_and_outlines_are_counterclockwise():
    collection = three_objects().to_geojson(transform=(1, 0, 0, 0, -1, 60))
    first, second, third = (feature["geometry"] for feature in collection["features"])
    assert (first["type"], second["type"], third) == ("MultiPolygon", "Polygon", None)
    assert sorted(map(len, first["coordinates"])) == [1, 1, 2]  # corner pixel, island, ring with its hole
    for polygon in first["coordinates"]:
        for number, ring in enumerate(polygon):
            assert ring[0] == ring[-1]
            x, y = np.array(ring[:-1]).T
            assert ((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0) == (number == 0)
    assert second["coordinates"][0][0][1] in (1, 5)  # rows 55 to 59, from the bottom


def test_polygons_of_a_map_reach_out_of_the_image():
    square = {"type": "Polygon", "coordinates": [[[-5, -5], [10, -5], [10, 10], [-5, 10], [-5, -5]]]}
    feature = {"type": "Feature", "properties": {"class_name": "car"}, "geometry": square}
    found = Detections.from_geojson({"features": [feature]}, IMAGE_SIZE, CATEGORIES)
    assert found.full_mask(0).sum() == 100 and found.full_mask(0)[:10, :10].all()
    assert found.scores.tolist() == [1] and found.boxes.tolist() == [[-5, -5, 10, 10]]


def test_labelme_keeps_masks_scores_and_classes_and_says_what_it_has_no_place_for(caplog):
    detections = three_objects(keypoints=POINTS, attributes={"age": np.arange(3)})
    content = json.loads(json.dumps(detections.to_labelme(CATEGORIES, "photos/a.jpg")))
    assert "labelme has no place for keypoints, age: left out of 3 objects." in caplog.text
    assert content["imagePath"] == "photos/a.jpg"
    back = Detections.from_labelme(content, CATEGORIES)
    np.testing.assert_array_equal(back.scores, detections.scores)
    np.testing.assert_array_equal(back.class_ids, detections.class_ids)
    for i in range(2):
        np.testing.assert_array_equal(back.full_mask(i), detections.full_mask(i))
    assert back.boxes.tolist() == [[12, 23, 28, 49], [55, 70, 59, 75], [1, 2, 3, 4]]  # the boxes of the masks


def test_boxes_of_labelme_are_exact():
    detections = three_objects(masks=None, mask_origins=None)
    back = Detections.from_labelme(detections.to_labelme(("car", "toothbrush"), "a.jpg"), CATEGORIES)
    np.testing.assert_allclose(back.boxes, detections.boxes, rtol=1e-6)
    assert back.masks is None and back.class_ids.tolist() == [2, 1, 2]


def test_shapes_that_labelme_has_and_a_mask_cannot_be_are_reported(caplog):
    content = three_objects().to_labelme(CATEGORIES, "a.jpg")
    content["shapes"].append({"label": "car", "points": [[1, 1], [9, 9]], "shape_type": "line"})
    assert len(Detections.from_labelme(content, CATEGORIES)) == 3
    assert "shapes other than polygon, mask, circle and rectangle were left out (1" in caplog.text


@pytest.mark.parametrize("name", ["supervision", "pandas"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs the package {name} .*pip install 'mask-rcnn\[{name}\]'"):
        getattr(three_objects(), f"to_{name}")()


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda each: each.to_supervision(("car",)), "number of categories, 1. Received: class_ids up to 2"),
        (lambda each: each.to_geojson(transform=(1, 1, 0, 1, 1, 0)), "six numbers a, b, c, d, e, f"),
        (lambda each: each.from_geojson([]), "Expected a FeatureCollection"),
        (lambda each: each.from_geojson(each.to_geojson(), (6, 8)), r"of the collection, \(60, 80\)"),
        (lambda each: each.from_geojson(each.to_geojson(), categories=CATEGORIES), "needs the property"),
        (lambda each: each.from_pandas(each.to_pandas().drop(columns="x1")), "needs the columns x1"),
        (lambda each: each.from_pandas(each.to_pandas()[:0]), "The size of the image is needed"),
        (lambda each: each.from_pandas(each.to_pandas(("car", "bus")), None, CATEGORIES), "Received: bus"),
        (lambda each: each.to_pandas(("a", "b")).drop(columns="class_id").pipe(each.from_pandas), "`categor"),
        (lambda each: each.from_labelme({"shapes": []}, CATEGORIES), "Expected `imageHeight`"),
    ],
)
def test_what_cannot_be_converted_is_an_error_that_says_what_to_do(convert, message):
    with pytest.raises(ValueError, match=message):
        convert(three_objects())
