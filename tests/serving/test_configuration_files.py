"""Compares the files in `export/serving` with the documentation of TensorFlow Serving and KServe."""

import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from kserve_environment import KSERVE_PYTHON, needs_kserve
from locations import SERVING

LIST_FIELDS = """
import re, sys, yaml
import kserve.models, kubernetes.client
def check(content, kind):
    model = getattr(kserve.models, kind, None) or getattr(kubernetes.client, kind, None)
    if not isinstance(content, dict) or not hasattr(model, "attribute_map"):
        return
    attributes = {name: attribute for attribute, name in model.attribute_map.items()}
    for name, value in content.items():
        print(kind, name)
        kinds = model.openapi_types[attributes[name]]
        element = re.fullmatch(r"[Ll]ist\\[(.*)\\]", kinds)
        for each in value if element else [value]:
            check(each, element[1] if element else kinds)
for content in yaml.safe_load_all(open(sys.argv[1])):
    check(content, "V1beta1InferenceService")
"""

_FIELD = descriptor_pb2.FieldDescriptorProto
_INT64, _STRING = "google.protobuf.Int64Value", "google.protobuf.StringValue"
# Fields in their order, from 1, and their types, as TensorFlow Serving documents them. The package of its
# Python messages, tensorflow-serving-api, lacks these two.
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": _INT64,
        "batch_timeout_micros": _INT64,
        "max_enqueued_batches": _INT64,
        "num_batch_threads": _INT64,
        "thread_pool_name": _STRING,
        "allowed_batch_sizes": [_FIELD.TYPE_INT64],
        "pad_variable_length_inputs": _FIELD.TYPE_BOOL,
    },
    "PrometheusConfig": {"enable": _FIELD.TYPE_BOOL, "path": _FIELD.TYPE_STRING},
    "MonitoringConfig": {"prometheus_config": "serving.PrometheusConfig"},
}


@pytest.fixture(scope="module")
def messages():
    """{name: class} of the messages above."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            label = _FIELD.LABEL_REPEATED if isinstance(kind, list) else _FIELD.LABEL_OPTIONAL
            kind = kind[0] if isinstance(kind, list) else kind
            is_message = isinstance(kind, str)
            given = {"type": _FIELD.TYPE_MESSAGE, "type_name": f".{kind}"} if is_message else {"type": kind}
            message.field.add(name=field, number=number, label=label, **given)
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"serving.{name}") for name in MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def parse(name, message):
    return text_format.Parse((SERVING / name).read_text(), message)


def test_batching_parameters_are_those_of_tensorflow_serving(messages):
    found = parse("batching_parameters.txt", messages["BatchingParameters"]())
    sizes = list(found.allowed_batch_sizes)
    assert sizes == sorted(sizes) and sizes[-1] == found.max_batch_size.value  # the server requires it
    assert found.max_enqueued_batches.value > 0 and not found.thread_pool_name.value


def test_monitoring_is_switched_on(messages):
    found = parse("monitoring.config", messages["MonitoringConfig"]())
    assert found.prometheus_config.enable and found.prometheus_config.path.startswith("/monitoring/")


def test_models_are_those_of_tensorflow_serving():
    pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    (model,) = parse("models.config", ModelServerConfig()).model_config_list.config
    assert model.name == Path(model.base_path).name == "fruits" and model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 2


def test_kserve_runs_tensorflow_serving_and_our_class_with_one_model():
    served, python = yaml.safe_load_all((SERVING / "kserve.yaml").read_text())
    predictor = served["spec"]["predictor"]
    (container,) = python["spec"]["predictor"]["containers"]
    storage = {each["name"]: each["value"] for each in container["env"]}["STORAGE_URI"]
    assert predictor["model"]["storageUri"] == storage
    assert predictor["model"]["modelFormat"]["name"] == "tensorflow"
    assert container["name"] == "kserve-container"  # the name that KServe expects


@pytest.mark.slow
@needs_kserve
def test_kserve_knows_all_fields_of_its_file():
    words = [KSERVE_PYTHON, "-c", LIST_FIELDS, SERVING / "kserve.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr  # a KeyError names an unknown field
    for field in ("V1beta1ModelSpec protocolVersion", "V1Container env", "V1EnvVar value"):
        assert field in done.stdout
