"""Tests of versions that are added, removed or damaged while requests run."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_model import FakePredictor, fake_model, png
from fake_server import running, until

from mask_rcnn.serving.sources import Source, check_sources, parse_source

POLL = 0.02


class Folder:
    """A folder with versions, and the models that a server loads from it."""

    def __init__(self, path):
        self.path, self.broken, self.predictors = path, set(), {}

    def add(self, number):
        version = self.path / str(number)
        version.mkdir()
        (version / "saved_model.pb").touch()

    def load(self, path):
        if path.name in self.broken:
            raise ValueError("Received: half a model.")
        self.predictors[path.name] = FakePredictor()
        return fake_model(self.predictors[path.name])

    def running(self, **options):
        return running(sources=[Source("fruits", self.path)], load=self.load, poll=POLL, **options)


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "fruits")
    folder.path.mkdir()
    folder.add(1)
    return folder


def version_of(server):
    return server.detect(png()).json()["version"]


def states(server):
    status = server.get("/v1/models/fruits").json()["model_version_status"]
    return {each["version"]: each["state"] for each in status}


def test_the_newest_version_is_served(folder):
    folder.add(10)
    folder.add(9)
    with folder.running() as server:
        assert version_of(server) == "10"
        assert states(server) == {"10": "AVAILABLE"}


def test_several_versions_are_served(folder):
    for number in (2, 3):
        folder.add(number)
    with folder.running(keep_versions=2) as server:
        assert server.get("/models").json()["models"][0]["versions"] == ["3", "2"]
        assert server.detect(png(), "?version=2").json()["version"] == "2"
        assert server.detect(png(), "?version=1").status == 404


def test_a_new_version_takes_over_without_losing_a_request(folder):
    stop, replies = threading.Event(), []

    def ask(server):
        while not stop.is_set():
            replies.append(server.detect(png()))

    with folder.running() as server, ThreadPoolExecutor(3) as clients:
        for _ in range(3):
            clients.submit(ask, server)
        try:
            until(lambda: len(replies) > 5)
            folder.add(2)
            until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})
            count = len(replies)
            until(lambda: len(replies) > count + 5)
        finally:
            stop.set()
    assert {reply.status for reply in replies} == {200}
    versions = [reply.json()["version"] for reply in replies]
    assert set(versions) == {"1", "2"}
    assert set(versions[-3:]) == {"2"}


def test_an_old_version_stays_until_its_requests_have_ended(folder):
    with folder.running() as server, ThreadPoolExecutor(1) as clients:
        old = folder.predictors["1"]
        old.gate.clear()
        reply = clients.submit(server.detect, png())
        assert old.entered.acquire(timeout=20)
        folder.add(2)
        until(lambda: states(server) == {"1": "UNLOADING", "2": "AVAILABLE"})
        assert version_of(server) == "2"
        assert not reply.done()
        old.gate.set()
        assert reply.result().json()["version"] == "1"
        until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})


def test_a_broken_version_is_reported_and_tried_again_when_it_is_repaired(folder):
    folder.broken.add("2")
    with folder.running() as server:
        folder.add(2)
        until(lambda: states(server).get("2") == "END")
        entry = server.get("/v1/models/fruits/versions/2").json()["model_version_status"][0]
        assert entry["status"] == {"error_code": "UNKNOWN", "error_message": "Received: half a model"}
        assert version_of(server) == "1"
        folder.broken.clear()
        (folder.path / "2" / "variables").touch()
        until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})


def test_deleting_the_newest_version_brings_the_older_one_back(folder):
    folder.add(2)
    with folder.running() as server:
        (folder.path / "2" / "saved_model.pb").unlink()
        until(lambda: states(server) == {"1": "AVAILABLE", "2": "END"})
        assert version_of(server) == "1"


def test_what_is_loaded_stays_when_the_folder_becomes_empty(folder):
    with folder.running() as server:
        (folder.path / "1" / "saved_model.pb").rename(folder.path / "1" / "away")
        until(lambda: not Source("fruits", folder.path).versions())
        assert version_of(server) == "1"


def test_a_model_that_cannot_be_loaded_at_the_start_ends_the_server(folder):
    folder.broken.add("1")
    with folder.running(wait=False) as server:
        until(lambda: server.repository.failure)
        assert "half a model" in str(server.repository.failure)
        assert server.server.should_exit


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("runs/fruits/best.weights.h5", "best", "runs/fruits/best.weights.h5"),
        ("nuclei.tflite", "nuclei", "nuclei.tflite"),
        ("models/fruits/3", "fruits", "models/fruits/3"),
        ("models/fruits", "fruits", "models/fruits"),
        ("a=models/fruits", "a", "models/fruits"),
        ("runs/lr=0.1/best.h5", "best", "runs/lr=0.1/best.h5"),
        ("torchvision/maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "torchvision/maskrcnn_resnet50_fpn"),
    ],
)
def test_a_model_has_a_name(text, name, path):
    assert parse_source(text) == Source(name, Path(path))


@pytest.mark.parametrize("text", ["a b=x", "a:b=x.h5", ".h5", "gs://bucket/x.h5"])
def test_a_name_that_cannot_be_in_a_url_is_refused(text):
    with pytest.raises(ValueError, match="Received"):
        parse_source(text)


def test_versions_are_saved_models_or_folders_with_one_file(tmp_path):
    for name in ("1", "2", "3", "4", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    (tmp_path / "2" / "model.tflite").touch()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / "3" / name).touch()
    source = Source("fruits", tmp_path)
    assert source.versions() == {2: tmp_path / "2" / "model.tflite", 1: tmp_path / "1"}
    assert Source("fruits", tmp_path / "1").versions() == {1: tmp_path / "1"}
    with pytest.raises(ValueError, match="twice"):
        check_sources([source, source])
    with pytest.raises(ValueError, match="numbered versions"):
        check_sources([Source("fruits", tmp_path / "4")])
