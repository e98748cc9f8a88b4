"""Tests of paths in other file systems: file:// on this machine, ram:// in TensorFlow's memory."""

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from cli_fakes import FakePredictor, run
from shard_files import write_shards

from mask_rcnn import config_io
from mask_rcnn.cli.inputs import local_inputs
from mask_rcnn.config import DataConfig
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.evaluation.coco_evaluation import evaluate_results
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.system.paths import RemotePath, as_path, find_paths, local_path
from mask_rcnn.training.data_sources import check_sources
from mask_rcnn.training.train import train


@pytest.fixture
def remote():
    """Returns the URL of a new folder in TensorFlow's in-memory file system."""
    url = f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(url)
    yield url
    tf.io.gfile.rmtree(url)


def upload(folder, url):
    """Copies a local folder to a URL."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = f"{url}/{path.relative_to(folder).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(path), target, overwrite=True)


@pytest.fixture
def shapes(tmp_path, remote):
    """Returns the annotations and the images of one data set, as local paths and in memory."""
    json_path, images_dir = write_shapes(tmp_path / "shapes", 6, (48, 64), seed=1)
    write_shards(json_path, images_dir, tmp_path / "shapes" / "shards", 2)
    upload(tmp_path / "shapes", remote)
    return json_path, images_dir


def test_a_path_is_local_or_remote_by_its_scheme():
    assert as_path("a/b.json") == Path("a/b.json") == as_path(Path("a/b.json"))
    assert as_path("file:///a/b.json") == Path("/a/b.json") == local_path("file:///a/b.json")
    path = as_path("gs://bucket/folder/a.json")
    assert isinstance(path, RemotePath) and as_path(path) is path
    assert (path.name, path.stem, path.suffix) == ("a.json", "a", ".json")
    assert str(path.parent / "b.json") == "gs://bucket/folder/b.json"


@pytest.mark.parametrize("path", ["gs://bucket/a", RemotePath("s3://bucket/a")])
def test_a_place_that_must_be_local_says_so(path):
    with pytest.raises(ValueError, match="Expected a path on this machine.*Use a local folder"):
        local_path(path)


def test_a_path_that_pathlib_has_joined_is_an_error():
    with pytest.raises(ValueError, match="`pathlib` has joined the slashes. Give the URL as"):
        read_coco(Path("gs://bucket/a.json"), "images")


def test_an_unknown_scheme_names_those_that_work():
    with pytest.raises(
        ValueError, match="begins with one of .*ram://.*Received: 'unknown://a/b.json'.*copy the files"
    ):
        read_coco("unknown://a/b.json", ".")


def test_a_remote_file_that_is_not_there_is_an_error(remote):
    with pytest.raises(FileNotFoundError, match="'ram://.*/a.json', which does not exist"):
        read_coco(f"{remote}/a.json", remote)


@pytest.mark.parametrize("scheme", ["file", "ram"])
def test_a_data_set_is_read_from_anywhere(scheme, shapes, remote):
    json_path, images_dir = shapes
    base = f"file://{json_path.parent}" if scheme == "file" else remote
    local = read_coco(json_path, images_dir)
    for other in (
        read_coco(f"{base}/instances.json", f"{base}/images"),
        read_coco(f"{base}/shards/*.tfrecord"),
    ):
        assert [image.id for image in other.images] == [image.id for image in local.images]
        for ours, theirs in zip(other.images, local.images, strict=True):
            assert (
                ours.annotations == theirs.annotations or ours.annotations[0].box == theirs.annotations[0].box
            )
            np.testing.assert_array_equal(read_image(ours.path), read_image(theirs.path))
    names = {"train_annotations": f"{base}/instances.json", "train_images": f"{base}/images"}
    check_sources(DataConfig(**names, val_annotations=f"{base}/shards/*.tfrecord"))


def test_remote_files_can_be_read_at_any_place(remote):
    data = np.random.default_rng(0).bytes(3_000_000)
    path = as_path(f"{remote}/a.bin")
    with tf.io.gfile.GFile(path.url, "wb") as file:
        file.write(data)
    assert path.stat().st_size == len(data) and path.is_file() and not path.is_dir()
    with path.open() as file:
        assert file.seek(-5, 2) == len(data) - 5 and file.read() == data[-5:]
        assert file.seek(1_500_000) and file.read(2_000_000) == data[1_500_000:]
    assert path.read_bytes() == data
    assert find_paths(f"{remote}/*.bin") == [path]


def test_results_and_configs_are_written_and_read_remotely(shapes, remote):
    write_json(f"{remote}/results.json", [])
    metrics = evaluate_results(f"{remote}/results.json", f"{remote}/instances.json")
    assert metrics.summary["segm"]["AP"] == 0
    write_json(f"{remote}/results.json", [1])
    assert json.loads(as_path(f"{remote}/results.json").read_bytes()) == [1]
    assert len(find_paths(f"{remote}/results.json*")) == 1
    with tf.io.gfile.GFile(f"{remote}/run.yaml", "w") as file:
        file.write("train: {steps: 7}")
    assert config_io.from_yaml(f"{remote}/run.yaml").train.steps == 7


def test_remote_weights_are_fetched_once(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path))
    as_path(f"{remote}/a.weights.h5").write(Path(__file__))
    copy = weights_file(f"{remote}/a.weights.h5")
    assert copy.name == "a.weights.h5" and copy.read_bytes() == Path(__file__).read_bytes()
    inode = copy.stat().st_ino
    assert weights_file(f"{remote}/a.weights.h5").stat().st_ino == inode


def test_remote_inputs_are_copied_for_the_command(shapes, remote):
    with local_inputs([as_path(f"{remote}/images"), Path("here.png")]) as (copy, here):
        assert here == Path("here.png")
        assert sorted(path.name for path in copy.iterdir()) == sorted(p.name for p in shapes[1].iterdir())
    assert not copy.exists()


def test_detect_reads_and_writes_remotely(shapes, remote, tmp_path, monkeypatch):
    monkeypatch.setattr("mask_rcnn.prediction.predict.Predictor", FakePredictor)
    words = ["--weights", "fake.h5", "--out", tmp_path / "out", "--json", f"{remote}/found.json"]
    assert run("detect", f"{remote}/images", *words) == 0
    found = json.loads(as_path(f"{remote}/found.json").read_bytes())
    assert found and len(list((tmp_path / "out").iterdir())) == 6


def test_a_run_needs_a_local_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Expected a path on this machine"):
        train(config_io.from_yaml(""), "gs://bucket/run")
    assert run("train", "--run", "gs://bucket/run") == 2
    assert "Expected a path on this machine. Received: 'gs://bucket/run'" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
