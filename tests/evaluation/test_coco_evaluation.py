import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mask_rcnn.config import Config, KeypointHeadConfig
from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.evaluation.coco_evaluation import check_measurable, evaluate_results, not_measurable
from mask_rcnn.evaluation.coco_results import from_coco, to_coco, write_json
from mask_rcnn.heads import iou_types_of
from mask_rcnn.structures import Category


def rectangle(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def truth_of(boxes, crowd=()):
    """Returns ground truth: two images of 100 x 100 pixels, with an object of category 5 in each box.

    Boxes are (x, y, width, height) in the first image. `crowd` has the ids of crowd regions, counted from 1.
    """
    return {
        "images": [{"id": 1, "height": 100, "width": 100}, {"id": 2, "height": 100, "width": 100}],
        "categories": [{"id": 9, "name": "cup"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {
                "id": i,
                "image_id": 1,
                "category_id": 5,
                "bbox": list(box),
                "area": box[2] * box[3],
                "segmentation": rectangle(*box),
                "iscrowd": int(i in crowd),
            }
            for i, box in enumerate(boxes, start=1)
        ],
    }


def detected(box, score=0.9, image_id=1):
    categories = (Category(5, "dog"),)
    entry = {"category_id": 5, "bbox": box, "score": score, "segmentation": rectangle(*box)}
    return to_coco(from_coco([entry], (100, 100), categories), image_id, categories)[0]


def noisy_results(truth, seed):
    """Returns results with moved boxes and masks and random scores. Some objects are missed, some false."""
    random = np.random.default_rng(seed)
    boxes = [a["bbox"] for a in truth["annotations"]] + [[60, 60, 30, 30], [0, 50, 9, 9]]
    results = []
    for x, y, width, height in boxes:
        for _ in range(random.integers(0, 3)):
            dx, dy = random.integers(-3, 4, 2)
            box = [max(x + int(dx), 0), max(y + int(dy), 0), width, height]
            results.append(detected(box, float(random.random()), int(random.integers(1, 3))))
            results[-1]["image_id"] = 1 if random.random() < 0.8 else 2
    return results


TRUTH = truth_of([(0, 0, 10, 10), (20, 0, 20, 20), (40, 40, 20, 40), (5, 70, 30, 30)], crowd=[4])


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
def test_truth_scores_one_and_the_crowd_is_not_missed(backend):
    pytest.importorskip(backend)
    results = [detected(a["bbox"]) for a in TRUTH["annotations"][:3]]
    metrics = evaluate_results(results, TRUTH, backend=backend)
    assert metrics["bbox"]["AP"] == metrics["segm"]["AP"] == pytest.approx(1)
    assert metrics["segm"]["AP_large"] is None
    assert metrics.backend == backend and metrics.backend_version


def test_an_overlap_of_four_fifths_counts_up_to_that_threshold():
    # 10 x 8 in 10 x 10: IoU 0.8, so correct at 0.50, 0.55, .. 0.80, 7 of 10 thresholds.
    metrics = evaluate_results([detected([0, 0, 10, 8])], truth_of([(0, 0, 10, 10)]))
    assert metrics["bbox"]["AP"] == pytest.approx(0.7)
    assert metrics["bbox"]["AP75"] == pytest.approx(1)
    assert metrics["segm"]["AR_1"] == pytest.approx(0.7)


def test_one_of_two_objects_found_is_half():
    # Precision is 1 up to recall 0.5: 51 of the 101 recall points.
    metrics = evaluate_results([detected([0, 0, 10, 10])], truth_of([(0, 0, 10, 10), (50, 50, 10, 10)]))
    assert metrics["bbox"]["AP"] == pytest.approx(51 / 101)
    assert metrics["bbox"]["AR"] == pytest.approx(0.5)


def test_nothing_detected_scores_zero_and_nothing_to_detect_is_not_measured():
    metrics = evaluate_results([], TRUTH)
    assert metrics["segm"]["AP"] == 0
    metrics = evaluate_results([], truth_of([]))
    assert set(metrics["segm"].values()) == {None}
    assert metrics.classes[0].ap == {"bbox": None, "segm": None}
    assert "–" in metrics.table()


def test_only_the_images_that_were_looked_at_count():
    metrics = evaluate_results([], TRUTH, image_ids=[2])
    assert metrics["bbox"]["AP"] is None
    assert metrics.num_images == 1 and metrics.num_objects == 0


def test_max_detections_cuts_off_the_worst():
    results = [detected([60, 60, 9, 9], score=0.9), detected([0, 0, 10, 10], score=0.5)]
    truth = truth_of([(0, 0, 10, 10)])
    assert evaluate_results(results, truth, max_detections=1)["bbox"]["AP"] == 0
    assert evaluate_results(results, truth, max_detections=2)["bbox"]["AP"] == pytest.approx(0.5)


def test_images_in_which_the_limit_binds_are_reported():
    results = [detected([i, i, 10, 10], image_id=image_id) for image_id, i in ((1, 0), (1, 40), (2, 0))]
    truth = truth_of([(0, 0, 10, 10), (40, 40, 10, 10)])
    metrics = evaluate_results(results, truth, max_detections=1)
    limited = "1 images have more than 1 detections of a class: for boxes and masks the best 1 count"
    assert metrics.warnings == (limited,)
    assert "at most 1 detections per class" in metrics.table()
    assert evaluate_results(results, truth).warnings == ()


def test_more_than_cocos_hundred_detections_can_count():
    boxes = [(x, y, 8, 8) for x in range(0, 100, 9) for y in range(0, 100, 9)]  # 144
    results = [detected(list(box)) for box in boxes]
    truth = truth_of(boxes)
    assert evaluate_results(results, truth)["bbox"]["AR"] == pytest.approx(100 / 144)
    assert evaluate_results(results, truth, max_detections=144)["bbox"]["AR"] == pytest.approx(1)


def test_what_cannot_be_measured_is_known_before_a_model_runs():
    truth = truth_of([(0, 0, 10, 10)])
    assert not_measurable(read_annotations(truth), ("bbox", "segm")) == {}
    assert not_measurable(read_annotations(truth), ("bbox",), image_ids=[2]) == {
        "bbox": "none of the 1 images has an object"
    }
    del truth["annotations"][0]["segmentation"]
    content = read_annotations(truth)
    assert not_measurable(content, ("bbox", "segm", "keypoints")) == {
        "segm": "none of the 1 objects has a mask",
        "keypoints": "none of the 1 objects has keypoints",
    }
    check_measurable(content, ("bbox", "segm"))
    with pytest.raises(ValueError, match="objects that AP can be computed from. Received: .* has a mask"):
        check_measurable(content, ("segm",))
    metrics = evaluate_results([detected([0, 0, 10, 10])], truth)
    assert metrics["bbox"]["AP"] == pytest.approx(1) and metrics["segm"]["AP"] is None
    assert "segm is not measurable: none of the 1 objects has a mask" in metrics.warnings


def test_an_object_without_a_mask_is_neither_missed_nor_wrong_for_masks():
    truth = truth_of([(0, 0, 10, 10), (40, 40, 20, 20)])
    truth["annotations"][1]["segmentation"] = None
    for found in ([(0, 0, 10, 10)], [(0, 0, 10, 10), (40, 40, 20, 20)]):
        metrics = evaluate_results([detected(list(box)) for box in found], truth)
        assert metrics["segm"]["AP"] == pytest.approx(1)


def test_other_keypoints_than_those_of_the_annotations_are_an_error():
    truth, result = keypoint_case(3, 0)
    result["keypoints"] = result["keypoints"][:6]
    with pytest.raises(ValueError, match="the 3 keypoints of the annotations. Received: 1 of 1"):
        evaluate_results([result], truth, ("keypoints",))


def test_a_mask_is_as_large_as_its_pixels_not_as_its_box():
    # A wrong mask of 100 pixels with a box of 100 x 100 is a small error, not a large one.
    wrong = {**detected([60, 60, 10, 10], score=0.95), "bbox": [0, 0, 100, 100]}
    metrics = evaluate_results([wrong, detected([0, 0, 10, 10])], truth_of([(0, 0, 10, 10)]), ("segm",))
    assert metrics["segm"]["AP_small"] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_numbers_are_those_of_pycocotools_own_summary(seed, iou_type):
    results = noisy_results(TRUTH, seed)
    if iou_type == "segm":
        results = [{k: v for k, v in entry.items() if k != "bbox"} for entry in results]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(TRUTH))
        truth.createIndex()
        reference = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), iou_type)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    ours = evaluate_results(results, TRUTH, (iou_type,))[iou_type]
    assert list(ours.values()) == [None if value == -1 else value for value in reference.stats.tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_backends_agree_to_the_bit(seed):
    pytest.importorskip("hotcoco")
    results = noisy_results(TRUTH, seed)
    ours, fast = (evaluate_results(results, TRUTH, backend=name) for name in ("pycocotools", "hotcoco"))
    assert ours.summary == fast.summary
    assert ours.classes == fast.classes


def test_keypoints_have_ten_numbers():
    points = [x for i in range(17) for x in (i, 2 * i, 2)]
    truth = truth_of([(0, 0, 40, 40)])
    truth["annotations"][0] |= {"keypoints": points, "num_keypoints": 17}
    result = {"image_id": 1, "category_id": 5, "score": 1.0, "keypoints": points}
    metrics = evaluate_results([result], truth, ("keypoints",))
    assert len(metrics["keypoints"]) == 10
    assert metrics["keypoints"]["AP"] == pytest.approx(1)


def test_each_class_has_its_score_in_the_order_of_the_annotation_file():
    metrics = evaluate_results([detected([0, 0, 10, 10])], truth_of([(0, 0, 10, 10)]))
    cup, dog = metrics.classes
    assert (cup.name, cup.id, cup.num_objects, cup.ap) == ("cup", 9, 0, {"bbox": None, "segm": None})
    assert (dog.name, dog.id, dog.num_objects) == ("dog", 5, 1)
    assert dog.ap == pytest.approx({"bbox": 1, "segm": 1})


def test_the_json_says_what_computed_it(tmp_path):
    write_json(tmp_path / "metrics.json", evaluate_results([], TRUTH).to_json())
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["backend"] == "pycocotools" and content["backend_version"]
    assert content["summary"]["segm"]["AP"] == 0
    assert content["classes"][1] == {"id": 5, "name": "dog", "num_objects": 3, "ap": {"bbox": 0, "segm": 0}}


def test_the_table_fits_a_terminal_and_names_every_class():
    table = evaluate_results([detected([0, 0, 10, 10])], TRUTH).table()
    assert max(map(len, table.splitlines())) <= 80
    assert "2 images, 3 objects" in table
    assert "dog" in table and "(1 class had no objects)" in table


def keypoint_case(num_keypoints, shift):
    """Returns ground truth of two objects, one without keypoints, and a result for the other.

    The result's keypoints are `shift` pixels too far to the right.
    """
    truth = truth_of([(0, 0, 40, 50), (50, 50, 40, 40)])  # the first has an area of 2000 pixels
    known = np.stack([np.arange(num_keypoints), np.arange(num_keypoints), np.full(num_keypoints, 2)], axis=1)
    truth["annotations"][0]["keypoints"] = known.ravel().tolist()
    found = {"image_id": 1, "category_id": 5, "score": 1.0, "bbox": [0, 0, 40, 50]}
    return truth, {**found, "keypoints": (known + [shift, 0, 0]).ravel().tolist()}


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
@pytest.mark.parametrize("num_keypoints", [3, 17])
def test_objects_without_keypoints_are_not_missed(num_keypoints, backend):
    pytest.importorskip(backend)
    truth, result = keypoint_case(num_keypoints, 0)
    metrics = evaluate_results([result], truth, ("keypoints",), backend=backend)
    assert [metrics["keypoints"][name] for name in ("AP", "AR")] == pytest.approx([1, 1])


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
def test_keypoints_that_are_not_of_persons_are_compared_with_one_tolerance(backend):
    # 5 pixels: exp(-25 / (2 * 2000 * (2 * 0.07)^2)) = 0.727, correct at 0.50, 0.55, .. 0.70.
    pytest.importorskip(backend)
    truth, result = keypoint_case(4, 5)
    assert evaluate_results([result], truth, ("keypoints",), backend=backend)["keypoints"][
        "AP"
    ] == pytest.approx(0.5)


def test_a_model_is_scored_by_what_its_heads_give():
    keypoints = KeypointHeadConfig()
    assert iou_types_of(Config()) == ("bbox", "segm")
    assert iou_types_of(Config(mask_head=None)) == ("bbox",)
    assert iou_types_of(Config(mask_head=None, keypoint_head=keypoints)) == ("bbox", "keypoints")
    assert iou_types_of(Config(keypoint_head=keypoints)) == ("bbox", "segm", "keypoints")


def test_the_table_gives_keypoints_a_head_of_their_own():
    truth = truth_of([(0, 0, 40, 40)])
    truth["annotations"][0] |= {"keypoints": [1, 2, 2] * 17, "num_keypoints": 17}
    lines = evaluate_results([], truth, ("bbox", "keypoints")).table().splitlines()
    words = [line.split()[0] for line in lines if line.strip() and "──" not in line]
    assert words[1:-1] == ["AP", "bbox", "AP", "kpts", "class", "dog"]


def test_nothing_is_printed(capfd):
    for backend in ("pycocotools", "hotcoco"):
        pytest.importorskip(backend)
        evaluate_results([detected([0, 0, 10, 10])], TRUTH, backend=backend)
    assert capfd.readouterr() == ("", "")


def test_the_content_that_was_given_is_not_changed():
    truth, results = truth_of([(0, 0, 10, 10)]), [detected([0, 0, 10, 10])]
    before = json.dumps([truth, results])
    evaluate_results(results, truth)
    assert json.dumps([truth, results]) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iou_types": ("masks",)}, r"Received: \['masks'\]"),
        ({"backend": "cocoapi"}, "Received: backend='cocoapi'"),
        ({"max_detections": 0}, "must be at least 1. Received: 0"),
    ],
)
def test_errors_say_what_is_expected_and_what_came(changes, message):
    with pytest.raises(ValueError, match=message):
        evaluate_results([], TRUTH, **changes)


def test_masks_cannot_be_scored_without_masks():
    box_only = {k: v for k, v in detected([0, 0, 10, 10]).items() if k != "segmentation"}
    assert evaluate_results([box_only], TRUTH, ("bbox",))["bbox"]["AP"] > 0
    with pytest.raises(ValueError, match="needs 'segmentation'. Received: 1 of 1 entries without"):
        evaluate_results([box_only], TRUTH)


@pytest.mark.parametrize("split", ["train", "val"])
def test_truth_of_coco_through_our_own_writer_scores_one(shared_data, split, tmp_path):
    path = shared_data / "coco2017_permissive" / "annotations" / f"instances_{split}.json"
    truth = json.loads(path.read_text())
    categories = tuple(Category(c["id"], c["name"]) for c in truth["categories"])
    results = []
    for image in truth["images"]:
        objects = [a for a in truth["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        detections = from_coco(objects, (image["height"], image["width"]), categories)
        results += to_coco(detections, image["id"], categories)
    write_json(tmp_path / "results.json", results)
    metrics = evaluate_results(tmp_path / "results.json", path)
    assert metrics["bbox"]["AP"] == metrics["segm"]["AP"] == pytest.approx(1)
    assert metrics["segm"]["AP_small"] == metrics["segm"]["AP_large"] == pytest.approx(1)
    assert evaluate_results(results, path, backend="hotcoco").summary == metrics.summary
