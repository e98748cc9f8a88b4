"""Tests of AP for LVIS, where not all classes were annotated in every image."""

import json

import pytest
from locations import GOLDEN
from PIL import Image
from report_scenes import rle
from report_scenes import truth as coco_truth

from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.readers.coco_content import read_annotations, read_entries
from mask_rcnn.data.readers.federation import UNLABELED
from mask_rcnn.evaluation.coco_evaluation import default_max_detections, evaluate_results, not_measurable
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.report.detection_matches import match_detections

REFERENCE = json.loads((GOLDEN / "lvis_reference.json").read_text())
SIZE = REFERENCE["height"], REFERENCE["width"]
CAT, DOG, OWL = 3, 8, 5  # category ids
BOX, FAR = (10, 10, 20, 20), (60, 30, 20, 20)


def reference_case(number):
    """Returns a scene of the reference: annotations, entries, limit, and `{IoU type: numbers}`."""
    case = REFERENCE["scenes"][number]
    images = [{**each, "height": SIZE[0], "width": SIZE[1]} for each in case["images"]]
    annotations, entries = [], []
    for id, (image_id, category_id, *box) in enumerate(case["objects"], start=1):
        known = {"image_id": image_id, "category_id": category_id, "bbox": box}
        annotations.append({**known, "id": id, "area": box[2] * box[3], "segmentation": rle(box, SIZE)})
    for image_id, category_id, score, *box in case["detections"]:
        known = {"image_id": image_id, "category_id": category_id, "bbox": box}
        entries.append({**known, "score": score, "segmentation": rle(box, SIZE)})
    truth = {"images": images, "categories": case["categories"], "annotations": annotations}
    return truth, entries, case["max_detections"], case["reference"]


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
@pytest.mark.parametrize("number", [0, 1])
def test_the_numbers_are_those_of_the_lvis_package(number, backend):
    pytest.importorskip(backend)
    truth, entries, limit, reference = reference_case(number)
    metrics = evaluate_results(entries, truth, backend=backend, max_detections=limit)
    for iou_type, numbers in reference.items():
        assert list(metrics[iou_type]) == list(numbers)
        assert metrics[iou_type] == pytest.approx(numbers, abs=1e-12)
    assert metrics.is_federated


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_report_evaluates_in_the_same_way(iou_type):
    truth, entries, limit, reference = reference_case(1)
    ids = [image["id"] for image in truth["images"]]
    found = match_detections(read_annotations(truth), entries, ids, iou_type=iou_type, max_detections=limit)
    assert found.summary == pytest.approx(reference[iou_type], abs=1e-12)


def lvis(objects, negative=(), not_exhaustive=()):
    """Returns LVIS annotations with one image and three categories. Objects are (box, category id)."""
    return {
        "images": [
            {
                "id": 4,
                "coco_url": "http://images.cocodataset.org/val2017/a.jpg",
                "height": 64,
                "width": 96,
                "neg_category_ids": list(negative),
                "not_exhaustive_category_ids": list(not_exhaustive),
            }
        ],
        "categories": [
            {"id": id, "name": name, "frequency": frequency}
            for id, name, frequency in ((DOG, "dog", "r"), (CAT, "cat", "f"), (OWL, "owl", "f"))
        ],
        "annotations": [
            {"id": id, "image_id": 4, "category_id": category, "bbox": list(box), "area": box[2] * box[3],
             "segmentation": [[box[0], box[1], box[0] + box[2], box[1], box[0] + box[2], box[1] + box[3],
                               box[0], box[1] + box[3]]]}
            for id, (box, category) in enumerate(objects, start=1)
        ],
    }  # fmt: skip


def found(*detections):
    """Returns entries of (box, category id, score)."""
    return [
        {"image_id": 4, "category_id": category, "bbox": list(box), "score": score}
        for box, category, score in detections
    ]


def ap(truth, entries, name="AP50", **options):
    return evaluate_results(entries, truth, ("bbox",), **options)["bbox"][name]


def test_a_wrong_detection_of_a_class_that_is_in_the_image_counts():
    assert ap(lvis([(BOX, CAT)]), found((FAR, CAT, 0.9), (BOX, CAT, 0.8))) == pytest.approx(0.5)


def test_a_wrong_detection_of_a_class_with_further_objects_is_excused_and_a_right_one_counts():
    truth = lvis([(BOX, CAT)], not_exhaustive=[CAT])
    assert ap(truth, found((FAR, CAT, 0.9), (BOX, CAT, 0.8))) == pytest.approx(1)
    assert ap(truth, found((FAR, CAT, 0.9))) == 0


def two_images(**fields):
    """Returns two images with a cat in the first one. The second one has the given lists."""
    truth = lvis([(BOX, CAT)])
    truth["images"].append({**truth["images"][0], "id": 5, **fields})
    return truth, [*found((BOX, CAT, 0.8)), {**found((BOX, CAT, 0.9))[0], "image_id": 5}]


def test_a_detection_counts_only_where_its_class_was_searched_for():
    assert ap(*two_images(neg_category_ids=[CAT])) == pytest.approx(0.5)
    truth, entries = two_images()
    metrics = evaluate_results(entries, truth, ("bbox",))
    assert metrics["bbox"]["AP"] == pytest.approx(1)
    assert metrics.warnings == ("1 detections do not count: their image was not searched for their class",)


def test_the_limit_is_for_all_classes_together_and_comes_first():
    truth = lvis([(BOX, CAT)])
    entries = found((FAR, OWL, 0.9), (FAR, DOG, 0.7), (BOX, CAT, 0.5))
    assert ap(truth, entries, max_detections=3) == pytest.approx(1)
    metrics = evaluate_results(entries, truth, ("bbox",), max_detections=2)
    assert metrics["bbox"]["AP"] == 0
    assert "1 images have more than 2 detections: the best 2 count" in metrics.warnings
    assert default_max_detections(read_annotations(truth)) == 300


def test_average_precision_of_rare_common_and_frequent_classes():
    truth = lvis([(BOX, CAT), (FAR, DOG), (FAR, OWL)])
    metrics = evaluate_results(found((BOX, CAT, 0.8), (FAR, DOG, 0.8)), truth, ("bbox",))
    names = ("AP", "AP_rare", "AP_common", "AP_frequent")
    assert [metrics["bbox"][name] for name in names] == pytest.approx([2 / 3, 1, None, 0.5])
    table = metrics.table()
    assert "at most 300 detections per image" in table
    assert "LVIS's rules: in an image, only the classes that it was searched for count" in table
    assert {"APr", "APc", "APf"} <= set(table.split())
    assert max(map(len, table.splitlines())) <= 80


def test_ordinary_files_have_no_federation():
    truth = lvis([(BOX, CAT)])
    for name in ("neg_category_ids", "not_exhaustive_category_ids"):
        del truth["images"][0][name]
    metrics = evaluate_results(found((BOX, CAT, 0.8), (FAR, DOG, 0.9)), truth, ("bbox",))
    assert not metrics.is_federated and metrics["bbox"]["AR_10"] == pytest.approx(1)
    assert read_annotations(truth).frequencies is None


def test_a_file_of_lvis_is_read_without_repairs_and_in_blocks(tmp_path):
    write_json(tmp_path / "lvis.json", lvis([(BOX, CAT), (FAR, DOG)], [OWL], [CAT]))
    entries = read_entries(tmp_path / "lvis.json")
    assert (
        len(entries.regular_annotations) == 2 and not entries.other_annotations
    )  # though they have no `iscrowd`
    content = read_annotations(tmp_path / "lvis.json")
    assert content.warnings == ()
    assert content.images[0]["file_name"] == "val2017/a.jpg"
    assert content.federation.negative.tolist() == [[0, OWL]]
    assert content.federation.not_exhaustive.tolist() == [[0, CAT]]
    assert content.frequencies.tolist() == ["f", "f", "r"]  # by id


def test_annotations_of_other_files_still_need_a_crowd_flag(tmp_path):
    truth = coco_truth([(BOX, CAT)])
    del truth["annotations"][0]["iscrowd"]
    write_json(tmp_path / "coco.json", truth)
    assert any("`iscrowd` was missing" in line for line in read_annotations(tmp_path / "coco.json").warnings)


def test_lists_of_images_that_are_left_out_are_left_out():
    truth = lvis([(BOX, CAT)])
    good = truth["images"][0]
    truth["images"] = [{**good, "id": 1, "neg_category_ids": [DOG]}, {**good, "neg_category_ids": [OWL]}]
    del truth["images"][0]["height"]
    content = read_annotations(truth, max_bad_images=0.5)
    assert content.federation.negative.tolist() == [[0, OWL]]


def test_odd_lists_are_reported_or_refused():
    truth = lvis([(BOX, CAT)], negative=[DOG, 77])
    del truth["images"][0]["not_exhaustive_category_ids"]
    warnings = read_annotations(truth).warnings
    assert "an image without `not_exhaustive_category_ids`: the list counts as empty (1: image 4)" in warnings
    assert any(
        "does not declare were left out of `neg_category_ids` (1: image 4: 77)" in one for one in warnings
    )
    truth["images"][0]["neg_category_ids"] = "dog"
    truth["categories"][0]["frequency"] = "often"
    with pytest.raises(ValueError, match=r"(?s)must be a list of category ids.*`frequency` .*'often'"):
        read_annotations(truth)


def test_keypoints_have_no_rules_of_lvis():
    truth = lvis([(BOX, CAT)])
    truth["annotations"][0]["keypoints"] = [12, 12, 2]
    reasons = not_measurable(read_annotations(truth), ("bbox", "keypoints"))
    assert reasons == {"keypoints": "LVIS has no rules for keypoints"}


def test_without_detections_that_count_nothing_is_found():
    assert ap(lvis([(BOX, CAT)]), []) == 0
    assert ap(lvis([(BOX, CAT)]), found((FAR, OWL, 0.5))) == 0


def test_training_on_a_file_of_lvis_says_what_unlabeled_objects_are(tmp_path):
    truth = lvis([(BOX, CAT)], [OWL])
    write_json(tmp_path / "lvis.json", truth)
    (tmp_path / "val2017").mkdir()
    Image.new("RGB", (96, 64)).save(tmp_path / "val2017" / "a.jpg")
    dataset = read_coco(tmp_path / "lvis.json", tmp_path)
    assert dataset.images[0].path == tmp_path / "val2017" / "a.jpg"
    assert dataset.warnings == (UNLABELED,)
