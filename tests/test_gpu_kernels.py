"""Tests that every operation of training and inference has a GPU kernel.

TensorFlow's list of kernels shows this. Its Linux packages contain the GPU kernels and list them on a machine
without a GPU, too. Here TensorFlow is told that it has a GPU, so that the graphs are those of a machine with
one. The graphs are traced, not run.
"""

from dataclasses import replace

import pytest
import tensorflow as tf
from tensorflow.python.framework.kernels import get_registered_kernels_for_op

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    CascadeConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
)
from mask_rcnn.model import build_parts, dtype_policy, inference_model, training_model
from mask_rcnn.networks.resnet import BLOCKS
from mask_rcnn.training.optimizer import build_optimizer
from mask_rcnn.training.trainer import Trainer

DEVICES = ("GPU", "DEFAULT")  # a kernel for "DEFAULT" runs on every device
KEYPOINT_HEAD = KeypointHeadConfig(names=("head", "tail"), flip_pairs=(), convs=1, channels=16)
ARCHITECTURES = {
    "FPN": {"backbone": BackboneConfig(name="resnet50"), "keypoint_head": KEYPOINT_HEAD},
    "cascade": {
        "backbone": BackboneConfig(name="resnet50"),
        "cascade": CascadeConfig(),
        "box_head": BoxHeadConfig(dense_units=(16,), samples=16, class_agnostic=True),
    },
    "C4": {
        "backbone": BackboneConfig(name="resnet50", last_stage=4),
        "fpn": None,
        "anchors": AnchorConfig(sizes=(8, 16, 32), strides=(16,)),
        "box_head": BoxHeadConfig(pool_size=14, average_pool=True, dense_units=(), samples=16),
        "mask_head": MaskHeadConfig(convs=0, channels=16),
    },
}


@pytest.fixture
def one_gpu(monkeypatch):
    if "GPU" not in {kernel.device_type for kernel in get_registered_kernels_for_op("Conv2D").kernel}:
        pytest.skip("this package of TensorFlow lists no GPU kernels")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))  # blocks per stage; the operations are the same


def types_of(node, name):
    value = node.attr[name]
    return set(value.list.type) if value.WhichOneof("value") == "list" else {value.type}


def without_gpu_kernel(graph):
    """Returns `{(op name, types)}` of the operations that have kernels, but none for GPUs and these types."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for f in definition.library.function for node in f.node_def)]
    missing = set()
    for node in nodes:
        kernels = get_registered_kernels_for_op(node.op).kernel

        def is_fit(kernel, node=node):
            fits = [types_of(node, c.name) <= set(c.allowed_values.list.type) for c in kernel.constraint]
            return kernel.device_type in DEVICES and all(fits)

        if kernels and not any(map(is_fit, kernels)):
            types = {kind for c in kernels[0].constraint for kind in types_of(node, c.name)}
            missing.add((node.op, *sorted(tf.as_dtype(kind).name for kind in types)))
    # The texts of error messages are always on the host.
    return missing - {("Const", "string")}


def traced(function, model):
    batch = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    return tf.function(function).get_concrete_function(batch).graph


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        ("FPN", "mixed_bfloat16"),
        *(
            pytest.param(architecture, precision, marks=pytest.mark.slow)
            for architecture in ARCHITECTURES
            for precision in ("float32", "mixed_float16", "mixed_bfloat16")
            if (architecture, precision) != ("FPN", "mixed_bfloat16")
        ),
    ],
)
def test_every_operation_has_a_gpu_kernel(architecture, precision, tiny_config, one_gpu):
    fields = ARCHITECTURES[architecture]
    config = replace(tiny_config, **fields, train=replace(tiny_config.train, precision=precision))
    with dtype_policy(precision):
        parts = build_parts(config)
        training, inference = training_model(parts, config), inference_model(parts, config)
        trainer = Trainer(training, loss_normalization="batch")
        trainer.compile(optimizer=build_optimizer(config.train), jit_compile=False)
        trainer.optimizer.build(trainer.trainable_variables)
        assert without_gpu_kernel(traced(trainer.train_step, training)) == set()
        assert without_gpu_kernel(traced(lambda batch: inference(batch), inference)) == set()


def test_an_operation_for_cpus_alone_is_found(one_gpu):
    @tf.function
    def function(boxes, scores, masks):
        tf.image.combined_non_max_suppression(boxes, scores, 4, 4)
        return tf.gather(masks, [0])

    shapes = [tf.TensorSpec([1, 9, 1, 4]), tf.TensorSpec([1, 9, 3]), tf.TensorSpec([5], tf.uint8)]
    missing = without_gpu_kernel(function.get_concrete_function(*shapes).graph)
    assert missing == {("CombinedNonMaxSuppression",), ("GatherV2", "int32", "uint8")}
