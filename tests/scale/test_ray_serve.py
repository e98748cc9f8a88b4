"""Tests of Ray Serve: arguments of the application, and replies of two replicas, one of which is killed."""

import asyncio
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from locations import HELPERS, SERVING
from PIL import Image
from ray_environment import TIMEOUT, needs_ray
from tiny_model import save_random_weights

from mask_rcnn.scale import ray_serve

NUM_IMAGES = 48


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs models. Received: none"),
        ({"models": "absent.weights.h5"}, "absent.weights.h5', which does not exist"),
        ({"models": "{model}", "treads": "2"}, "Received: treads. Correct the name"),
        ({"models": "{model}", "queue": "0"}, "--queue must be 1 or more"),
        ({"models": "a={model} a={model}"}, "a twice"),
    ],
)
def test_wrong_arguments_are_refused_before_a_replica_starts(tmp_path, arguments, message):
    model = tmp_path / "fruits.weights.h5"
    model.touch()
    arguments = {name: value.format(model=model) for name, value in arguments.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ray_serve.app(arguments)


def test_texts_of_the_command_line_become_limits():
    options = ray_serve._options({"queue": "7", "timeout": "2.5", "max_batch": 3})
    assert (options.queue, options.timeout, options.max_batch) == (7, 2.5, 3)


def test_paths_of_models_do_not_depend_on_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fruits.tflite").touch()
    (source,) = ray_serve._sources("fruits.tflite")
    assert source.path == tmp_path / "fruits.tflite" and source.name == "fruits"


def test_a_replica_starts_as_ray_starts_it_and_answers(tmp_path, monkeypatch):
    config = pytest.importorskip("uvicorn.config", reason="needs the extra `serve`")
    from fake_model import fake_model
    from uvicorn.lifespan.on import LifespanOn

    monkeypatch.setattr(ray_serve, "prepare_process", lambda num_cpus: None)
    (tmp_path / "fruits.tflite").touch()
    sources = ray_serve._sources(str(tmp_path / "fruits.tflite"))
    app = ray_serve._ready_app(sources, lambda path: fake_model(), ray_serve._options({}), num_cpus=1)
    lifespan, sent = LifespanOn(config.Config(app, lifespan="on", log_config=None)), []

    async def ask():
        await lifespan.startup()
        scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": [], "query_string": b""}

        async def send(message):
            sent.append(message)

        await app(scope, None, send)

    asyncio.run(ask())
    assert not lifespan.should_exit and sent[0]["status"] == 200


@pytest.mark.slow
@needs_ray
def test_the_configuration_is_one_of_ray_serve():
    import yaml
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load((SERVING / "ray_serve.yaml").read_text()))
    assert config.applications[0].import_path == "mask_rcnn.scale.ray_serve:app"


@pytest.mark.slow
@needs_ray
def test_a_replica_that_is_killed_costs_no_answer(tmp_path, tiny_config):

    save_random_weights(tmp_path / "model.weights.h5", tiny_config)
    (tmp_path / "photos").mkdir()
    for number in range(NUM_IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, [64, 60 + number, 3]).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:03}.png")
    done = subprocess.run(
        [sys.executable, HELPERS / "serve_ray.py", tmp_path],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "answers.json").read_text())
    assert len(report["replicas"]) == 2
    assert [name for name, _ in report["answers"]] == [f"{number:03}.png" for number in range(NUM_IMAGES)]
    for number, (_, answer) in enumerate(report["answers"]):
        assert answer["image"] == {"width": 60 + number, "height": 64}  # the reply for this image
        assert answer["model"] == "tiny" and answer["detections"]
