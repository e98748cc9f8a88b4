"""Tests of the web page and the JSON file of a report."""

import html.parser
import json
import re

import numpy as np
import pytest
from report_scenes import CAT, DOG, HEIGHT, WIDTH, detected, random_scene, results, truth

from mask_rcnn.report.write import write_report

VOID = ("meta", "link", "img", "br", "path", "circle", "rect")


class Tags(html.parser.HTMLParser):
    """Checks that tags are closed in order, and counts them."""

    def __init__(self):
        super().__init__()
        self.open, self.counts = [], {}

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report with a comparison and pictures."""
    folder = tmp_path_factory.mktemp("report") / "new"
    annotations, entries = random_scene(1)
    annotations["categories"][0]["name"] = "<script>dog"
    annotations["images"][0]["file_name"] = "a<b>.png"
    run = detected(annotations, entries)
    other = detected(annotations, [each for each in entries if each["score"] > 0.4], "other.json")
    picture = np.full((HEIGHT, WIDTH, 3), 200, "uint8")
    write_report(folder, run, other=other, pixels_of=lambda id: picture if id == 1 else None)
    return folder


def test_the_page_is_one_file_without_scripts_and_without_the_network(report):
    page = (report / "index.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.counts and "&lt;script&gt;dog" in page
    assert "://" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert not re.search(r"\bon\w+=", page)
    assert 'name="viewport" content="width=device-width' in page
    assert "nan" not in re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert tags.counts["svg"] == 3 + 2 + 2  # errors of three IoU types, precision and recall, scores
    assert tags.counts["img"] >= 4


def test_images_that_cannot_be_shown_are_said_to_be_missing(report):
    page = (report / "index.html").read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    worst = [caption for caption in captions if " found, " in caption]
    assert any("a&lt;b&gt;" in caption for caption in worst) and len(worst) > 1
    assert [("is not shown" in caption) for caption in worst] == ["a&lt;b&gt;" not in each for each in worst]


def test_the_json_has_the_numbers_of_each_iou_type(report):
    numbers = json.loads((report / "report.json").read_text())
    assert list(numbers["evaluations"]) == ["bbox", "segm", "boundary"]
    one = numbers["evaluations"]["segm"]
    assert numbers["classes"] == ["cat", "<script>dog"]
    assert np.shape(one["precision_recall"]["precision"]["cat"]) == (10, 101)
    assert np.shape(one["confusion"]["matrix"]) == (3, 3)
    assert [row["id"] for row in one["images"]] != [1, 2, 3, 4]  # sorted, worst first
    errors = [row["missed"] + row["wrong"] for row in one["images"]]
    assert errors == sorted(errors, reverse=True)
    assert sum(errors) == sum(map(sum, one["confusion"]["matrix"])) - sum(
        one["confusion"]["matrix"][k][k] for k in range(2)
    ) + sum(one["confusion"]["matrix"][i][j] for i, j in ((0, 1), (1, 0)))
    assert numbers["comparison"]["detections"] == "other.json"
    assert numbers["comparison"]["evaluations"]["segm"]["bootstrap"]["num_resamples"] == 1000
    assert len(numbers["comparison"]["evaluations"]["segm"]["images"]) == 4


def test_a_report_on_objects_without_a_right_detection_is_written(tmp_path):
    annotations = truth([((0, 0, 9, 9), CAT), ((0, 0, 9, 9), CAT, 2, 1)], num_images=2)
    run = detected(annotations, results([((60, 30, 9, 9), DOG, 0.5)]), iou_types=("bbox",))
    numbers = write_report(tmp_path, run)
    one = numbers["evaluations"]["bbox"]
    assert one["summary"]["AP"] == 0
    assert one["scores"]["best"] is None
    assert one["classes"][1]["ap"] is None
    assert "boundary" not in numbers["evaluations"]


def test_what_cannot_be_explained_is_an_error(tmp_path):
    annotations = truth([((0, 0, 9, 9), CAT)], num_images=2)
    run = detected(annotations, results([((0, 0, 9, 9), CAT, 0.5)]))
    with pytest.raises(ValueError, match="Received: empty.json without a detection"):
        write_report(tmp_path, detected(annotations, [], "empty.json"))
    with pytest.raises(ValueError, match="empty.json without a detection"):
        write_report(tmp_path, run, other=detected(annotations, [], "empty.json"))
    with pytest.raises(ValueError, match="without an object in the images"):
        write_report(tmp_path, detected(annotations, run.entries, iou_types=()))
    fewer = detected(truth([((0, 0, 9, 9), CAT)]), run.entries, "fewer.json")
    with pytest.raises(ValueError, match=r"on 2 images, fewer.json on 1\."):
        write_report(tmp_path, run, other=fewer)
    assert not list(tmp_path.iterdir())


def test_progress_is_shown_for_images_and_comparisons(tmp_path):
    annotations, entries = random_scene(3, num_images=2, num_objects=6)
    shown = []

    def track(items, total, description):
        shown.append((description, total))
        return items

    run = detected(annotations, entries, iou_types=("bbox",))
    write_report(tmp_path, run, other=run, track=track)
    assert shown == [
        ("matching boxes", 2),
        ("matching boxes", 2),
        ("comparing boxes", 4),
        ("drawing changes", 0),
        ("drawing images", 2),
    ]
