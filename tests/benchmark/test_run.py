import dataclasses
import json
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn import model_zoo
from mask_rcnn.benchmark import package_model, prediction, run, torchvision_program
from mask_rcnn.benchmark.processor import describe_processor
from mask_rcnn.benchmark.synthetic_batch import NUM_OBJECTS, Settings, ellipse, make_synthetic_batch
from mask_rcnn.benchmark.table import format_report
from mask_rcnn.benchmark.timing import Seconds, interleaved, median, peak_memory, timed
from mask_rcnn.benchmark.torchvision_process import TorchvisionProcess
from mask_rcnn.cli.main import main
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.model import build_parts
from mask_rcnn.ops import implementation
from mask_rcnn.structures import Detections

SETTINGS = Settings(size=(64, 96), repeats=2, warmup=1)
LOSSES = {"rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss"}

PROCESSOR = {"cpu": "Fast 9000", "instruction_sets": "AVX2", "onednn": "off", "kernels": "cpu"}

# Answers like torchvision_program, without torch: one detection, losses of 1 to 5, half a second per run.
FAKE_PEER = """
import json, sys
job = json.loads(sys.stdin.readline())
print(json.dumps({"torch": "9.9", "torchvision": "9.8", "isolated": sys.argv[1]}), flush=True)
losses = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
for line in sys.stdin:
    answer = {"wall": 0.5, "cpu": 1.0}
    if line.startswith("inference "):
        answer["detections"] = [{"boxes": [[0, 0, 9, 9]], "class_ids": [1], "scores": [0.5]}]
    else:
        answer["losses"] = {name: number for number, name in enumerate(losses, start=1)}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def interpreter(tmp_path):
    """A function that writes a program to an executable, which ignores the Python code that it should run."""

    def make(program):
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(program)}")
        path.chmod(0o755)
        return path

    return make


def make_peer(python, settings=SETTINGS, config=None):
    config = config or model_zoo.config("mask_rcnn_lite0_fpn")
    return TorchvisionProcess(python, make_synthetic_batch(settings, 3), settings, recipe=config.train)


def test_median_is_of_each_clock_apart():
    assert median([Seconds(1, 9), Seconds(2, 2), Seconds(6, 4)]) == Seconds(2, 4)


def test_interleaved_runs_take_turns_and_leave_the_warm_up_out():
    order = []

    def take(name):
        order.append(name)
        return Seconds(len(order), 0), f"{name} {len(order)}"

    seconds, first = interleaved({"a": lambda: take("a"), "b": lambda: take("b")}, warmup=1, repeats=2)
    assert order == ["a", "b"] * 3
    assert [s.wall for s in seconds["a"]] == [3, 5]
    assert [s.wall for s in seconds["b"]] == [4, 6]
    assert first == {"a": "a 1", "b": "b 2"}


def test_timed_counts_work_as_processor_time():
    seconds, result = timed(lambda: sum(range(2_000_000)))
    assert result == 1_999_999_000_000
    assert seconds.wall > 0 and seconds.cpu > 0


def test_peak_memory_counts_what_was_held():
    assert np.ones(10_000_000)[0] == 1
    assert peak_memory() is None or peak_memory() > 80_000_000  # 8 bytes each


def test_peak_memory_of_an_unknown_process_is_none():
    assert peak_memory("no such process") is None


def test_ellipse_touches_the_sides_of_its_box():
    mask = ellipse((2, 1, 8, 5), height=10, width=7)  # 6 high, 4 wide
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 7, 1, 4)
    assert not mask[2, 1] and mask.sum() == 20  # without a corner; the ellipse has an area of 18.8


def test_work_is_repeatable_and_inside_the_image():
    work, again = make_synthetic_batch(SETTINGS, 3), make_synthetic_batch(SETTINGS, 3)
    np.testing.assert_array_equal(work.images, again.images)
    assert work.images.shape == (1, 64, 96, 3) and work.images.dtype == np.uint8
    assert work.masks.shape == (1, NUM_OBJECTS, 64, 96)
    assert work.boxes.min() >= 0 and np.all(work.boxes[..., 2:] <= [64, 96])
    assert np.all(work.boxes[..., 2:] - work.boxes[..., :2] >= 4)  # 1/16 of 64
    assert work.class_ids.min() >= 1 and work.class_ids.max() <= 3


def test_settings_need_a_warm_up():
    with pytest.raises(ValueError, match="warmup=0"):
        Settings(warmup=0)


def test_benchmark_config_keeps_the_size(tiny_config):
    config = package_model.benchmark_config(dataclasses.replace(tiny_config, num_classes=0), SETTINGS)
    assert (config.input.short_side, config.input.long_side) == (64, 96)
    assert config.num_classes == 80


def test_benchmark_images_are_not_padded_to_another_size(tiny_config):
    settings = dataclasses.replace(SETTINGS, size=(64, 96))
    fixed = dataclasses.replace(tiny_config.input, short_side=32, train_short_sides=(32,), long_side=32)
    fixed = dataclasses.replace(fixed, padded_size=(32, 32))
    config = package_model.benchmark_config(dataclasses.replace(tiny_config, input=fixed), settings)
    assert (config.input.long_side, config.input.padded_size) == (96, None)


@pytest.mark.kernels
def test_the_busy_threshold_lets_so_many_boxes_pass(tiny_parts, tiny_config, monkeypatch):
    monkeypatch.setattr(
        package_model, "NUM_BOXES_ABOVE_THRESHOLD", 8
    )  # the best six scores are 1 up to rounding
    box_head = dataclasses.replace(tiny_config.box_head, nms_iou=1.0, max_detections=20)
    config = package_model.benchmark_config(dataclasses.replace(tiny_config, box_head=box_head), SETTINGS)
    images = make_synthetic_batch(SETTINGS, 3).images
    threshold = package_model.many_detections_threshold(tiny_parts, config, images)
    box_head = dataclasses.replace(box_head, score_threshold=threshold)
    predictor = package_model.make_predictor(tiny_parts, dataclasses.replace(config, box_head=box_head))
    assert len(predictor.predict(images[0])) == 8


def test_two_sides_of_a_model_without_masks(tiny_config, interpreter):
    settings = dataclasses.replace(SETTINGS, repeats=1)
    config = package_model.benchmark_config(dataclasses.replace(tiny_config, mask_head=None), settings)
    with make_peer(interpreter(FAKE_PEER), settings) as peer:
        batch = make_synthetic_batch(settings, 3)
        report = run._measure(build_parts(config), config, settings, batch=batch, process=peer)

    inference, training = report["inference"], report["training"]
    assert list(inference["stages"]) == [
        "preprocess",
        "backbone",
        "FPN",
        "RPN, proposals",
        "box head",
        "paste",
    ]
    assert all(seconds["wall"] > 0 for seconds in inference["stages"].values())
    assert inference["detections"] == [config.box_head.max_detections]
    assert (inference["torchvision"]["wall"], inference["torchvision"]["cpu"]) == (0.5, 1.0)
    assert inference["ratio"]["wall"] == pytest.approx(inference["mask_rcnn"]["wall"] / 0.5)
    assert set(training["losses"]["mask_rcnn"]) == LOSSES - {"mask_loss"}
    assert np.all(np.isfinite(list(training["losses"]["mask_rcnn"].values())))
    assert json.loads(json.dumps(report))["training"] == training

    text = format_report(report)
    assert "Mask R-CNN, 64 x 96, batch 1, float32, 1 threads; median of 1 runs after 1" in text
    assert "  mask_rcnn / torchvision" in text and "torch 9.9" in text
    assert "of torchvision's detections are among them" in text
    assert re.search(r"rpn_box_loss +0\.\d{4} +2\.0000", text)


def test_a_model_of_four_channels_and_16_bits_is_measured(tiny_config):
    numbers = {"mean": (120.0,) * 4, "std": (60.0,) * 4}
    images = dataclasses.replace(tiny_config.input, channels=4, dtype="uint16", bit_depth=12, **numbers)
    settings = dataclasses.replace(SETTINGS, repeats=1)
    report = run.benchmark(dataclasses.replace(tiny_config, input=images, mask_head=None), settings)
    assert report["inference"]["mask_rcnn"]["wall"] > 0 and report["training"]["mask_rcnn"]["wall"] > 0


def test_stages_give_what_the_whole_model_gives(tiny_parts, tiny_config):
    settings = dataclasses.replace(SETTINGS, batch_size=2)
    predictor = package_model.make_predictor(
        tiny_parts, package_model.benchmark_config(tiny_config, settings)
    )
    images = make_synthetic_batch(settings, 3).images
    _, whole = package_model.inference(predictor, images)()
    stages = package_model.inference_stages(predictor, tiny_parts, images)
    results = {name: stage()[1] for name, stage in stages.items()}
    boxes, scores, _ = results["box head"]
    assert all(len(detections) > 1 for detections in whole)
    for index, detections in enumerate(whole):
        found = slice(len(detections))  # without padding rows
        np.testing.assert_allclose(scores[index][found], detections.scores, rtol=1e-4)
        np.testing.assert_allclose(boxes[index][found], detections.boxes, atol=1e-2)
        np.testing.assert_allclose(results["paste"][index].boxes, detections.boxes, atol=1e-2)
    assert results["mask head"].shape == (2, 8, 28, 28)


@pytest.mark.parametrize("shared_features", [True, False])
def test_a_model_without_an_fpn_has_its_other_stages(tiny_config, shared_features):
    anchors = dataclasses.replace(tiny_config.anchors, strides=(32,))
    rpn = dataclasses.replace(tiny_config.rpn, shared_features=shared_features)
    config = dataclasses.replace(tiny_config, fpn=None, anchors=anchors, rpn=rpn)
    config = package_model.benchmark_config(config, SETTINGS)
    parts = build_parts(config)
    predictor = package_model.make_predictor(parts, config)
    stages = package_model.inference_stages(predictor, parts, make_synthetic_batch(SETTINGS, 3).images)
    assert list(stages) == ["preprocess", "backbone", "RPN, proposals", "box head", "mask head", "paste"]
    assert stages["RPN, proposals"]()[1][0].shape == (1, 30, 4)
    assert stages["mask head"]()[1].shape == (1, 8, 28, 28)


def test_seconds_are_per_image_of_a_batch():
    settings = dataclasses.replace(SETTINGS, batch_size=2)
    report, _ = run._compare({"mask_rcnn": lambda: (Seconds(3.0, 5.0), None)}, settings, process=None)
    assert (report["mask_rcnn"]["wall"], report["mask_rcnn"]["cpu"]) == (1.5, 2.5)
    assert report["mask_rcnn"]["runs"] == [{"wall": 1.5, "cpu": 2.5}] * 2


@pytest.mark.parametrize("max_instances, kept", [(4, 4), (30, NUM_OBJECTS)])
def test_training_batch_has_the_objects_of_the_work(max_instances, kept, tiny_config):
    inputs = dataclasses.replace(tiny_config.input, max_instances=max_instances)
    work = make_synthetic_batch(dataclasses.replace(SETTINGS, size=(60, 90)), 3)
    batch = package_model._training_batch(dataclasses.replace(tiny_config, input=inputs), work)
    assert batch["images"].shape == (1, 64, 96, 3)
    assert batch["image_sizes"].numpy().tolist() == [[60, 90]]
    assert batch["gt_masks"].shape == (1, max_instances, 16, 16)
    np.testing.assert_array_equal(batch["gt_boxes"][0, :kept], work.boxes[0, :kept])
    assert np.count_nonzero(batch["gt_class_ids"]) == kept
    assert np.mean(batch["gt_masks"][0, 0]) == pytest.approx(np.pi / 4, abs=0.03)  # a disk


def test_the_fraction_found_counts_the_same_class_in_the_same_place():
    boxes = [[0, 0, 10, 10], [0, 0, 20, 20]]
    found = Detections(boxes=boxes, scores=[0.9, 0.8], class_ids=[1, 2], image_size=(30, 30))
    expected = {"boxes": [[0, 0, 10, 9.5], [0, 0, 20, 20], [5, 0, 15, 10]], "class_ids": [1, 1, 1]}
    assert run._fraction_found(found, expected) == pytest.approx(1 / 3)
    assert run._fraction_found(found, {"boxes": [], "class_ids": []}) == 1


def test_peer_answers_in_our_names(interpreter):
    with make_peer(interpreter(FAKE_PEER)) as peer:
        assert peer.versions["torchvision"] == "9.8"
        assert peer.versions["isolated"] == "-I"
        seconds, losses = peer.training_step()
        assert seconds == Seconds(0.5, 1.0)
        assert losses == {
            "rpn_objectness_loss": 1,
            "rpn_box_loss": 2,
            "class_loss": 3,
            "box_loss": 4,
            "mask_loss": 5,
        }
        process = peer._program._process
    assert process.returncode == 0


def test_interpreter_without_torchvision_is_told_how_to_get_it(interpreter):
    answer = {"error": "ModuleNotFoundError: No module named 'torchvision'"}
    python = interpreter(f"print({json.dumps(json.dumps(answer))})")
    with pytest.raises(ValueError, match="python -m pip install torch torchvision"), make_peer(python):
        pass


def test_peer_that_dies_leaves_its_last_words(interpreter):
    python = interpreter("import sys; print('out of memory', file=sys.stderr); sys.exit(7)")
    with pytest.raises(ValueError, match="exit code 7.\nout of memory"), make_peer(python):
        pass


def test_peer_that_is_no_python_is_an_error(interpreter, tmp_path):
    with pytest.raises(ValueError, match="Received: 'hello"), make_peer(interpreter("print('hello')")):
        pass
    with pytest.raises(ValueError, match="No such file"), make_peer(tmp_path / "absent"):
        pass


def test_torchvision_program_runs_alone_and_reports_what_is_missing():
    words = [sys.executable, "-I", "-c", BLOCKED.format(path=torchvision_program.__file__)]
    done = subprocess.run(words, input="{}\n", capture_output=True, text=True, check=True)
    assert "torch" in json.loads(done.stdout)["error"]


# Runs the program in a process that cannot import torch, mask_rcnn or TensorFlow.
BLOCKED = """
import runpy, sys
for name in ("torch", "mask_rcnn", "tensorflow", "keras"):
    sys.modules[name] = None
runpy.run_path({path!r}, run_name="__main__")
"""


def run_command(*words):
    with pytest.raises(SystemExit) as stop:
        main(["mask-rcnn", "benchmark", *map(str, words)])
    return stop.value.code


@pytest.mark.parametrize(
    "words, message",
    [
        (["--against", "torchvision"], "--against and --against-python go together"),
        (["--weights", "a.h5", "--config", "shapes"], "Leave them out"),
        (["--size", "0", "96"], "must be at least 1"),
        (["--against", "torchvision", "--against-python", "p", "--set", "a.b=1"], "Leave them out"),
        (["--mode", "predict"], "needs --annotations and --images"),
        (["--mode", "data"], "needs --annotations and --images"),
        (["--mode", "predict", "--annotations", "a", "--images", "b", "--model", "c"], "supports neither"),
    ],
)
def test_options_that_do_not_fit_are_an_error(words, message, capsys):
    assert run_command(*words) == 2
    assert message in capsys.readouterr().err


def test_command_prints_the_table_and_writes_the_numbers(monkeypatch, tmp_path, capsys):
    seen = []

    def fake(config, settings, weights=None):
        seen.append((config, settings, weights))
        seconds = {"wall": 0.25, "cpu": 0.5, "runs": [], "peak_memory": 3_000_000_000}
        stages = {"backbone": {"wall": 0.125, "cpu": 0.25}, "FPN": {"wall": 0.0625, "cpu": 0.125}}
        inference = {"mask_rcnn": seconds, "stages": stages, "detections": [100], "score_threshold": 0.0}
        return {
            "settings": dataclasses.asdict(settings),
            "versions": {},
            "processor": PROCESSOR,
            "inference": inference,
        }

    monkeypatch.setattr(run, "benchmark", fake)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda threads: None)
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda threads: None)
    options = ["--mode", "inference", "--size", 64, 96, "--json", tmp_path / "report.json", "--threads", 3]
    assert run_command(*options, "--config", "shapes", "--set", "rpn.post_nms=5") == 0
    ((config, settings, weights),) = seen
    assert (config.rpn.post_nms, weights) == (5, None)
    assert (settings.size, settings.modes) == ((64, 96), ("inference",))
    printed = capsys.readouterr().out
    assert "  sum of the stages                    0.188       0.375" in printed
    assert "CPU Fast 9000 (AVX2), oneDNN off, kernels cpu" in printed
    assert "3 threads" in printed and "mask_rcnn 3.00 GB" in printed
    assert json.loads((tmp_path / "report.json").read_text())["inference"]["detections"] == [100]


def test_the_processor_is_described_where_linux_tells_and_unknown_elsewhere(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Fast 9000\nflags\t\t: fpu avx2 avx512f avx512_vnni avx_vnni amx_tile\n")
    told = describe_processor(path)
    assert (told["cpu"], told["instruction_sets"]) == ("Fast 9000", "AVX2 AVX512 VNNI AMX")
    assert describe_processor(tmp_path / "absent")["instruction_sets"] == "unknown"
    assert told["kernels"] in ("cpu", "gpu")
    setting = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    assert told["onednn"] == {"0": "off", "1": "on", None: told["onednn"]}[setting]


@pytest.mark.parametrize(
    "sets, onednn, precision, is_slow",
    [
        (("AVX2",), True, "mixed_bfloat16", True),
        (("AVX512", "BF16"), True, "mixed_bfloat16", False),
        (("AVX512", "BF16"), False, "mixed_bfloat16", True),
        (("AMX",), True, "mixed_float16", True),
        (("AVX2",), True, "float32", False),
        (None, True, "mixed_bfloat16", False),
    ],
)
def test_a_precision_that_is_slow_on_the_machine_is_said_once(
    monkeypatch, caplog, sets, onednn, precision, is_slow
):
    monkeypatch.setattr(implementation, "instruction_sets", lambda: sets)
    monkeypatch.setattr(implementation, "uses_onednn", lambda: onednn)
    monkeypatch.setattr(implementation, "has_gpu", lambda: False)
    implementation.warn_of_slow_precision.cache_clear()
    for _ in range(2):
        implementation.warn_of_slow_precision(precision)
    said = [record.getMessage().partition(" is slow")[0] for record in caplog.records]
    assert said == [precision] * is_slow
    implementation.warn_of_slow_precision.cache_clear()


def test_random_networks_stay_moderate(tiny_config):
    parts = run._random_parts(tiny_config, seed=0)
    gamma = next(v for v in parts.backbone.weights if v.path.endswith("project/norm/gamma"))
    np.testing.assert_allclose(gamma, torchvision_program.RESIDUAL_SCALE)
    other = build_parts(tiny_config).backbone.weights[1]
    np.testing.assert_allclose(other, 1.0)


def test_an_evaluation_is_measured_beside_the_bare_model(tiny_config, tmp_path):
    annotations, images = write_shapes(tmp_path, 5, (64, 96), seed=0)
    dataset = read_coco(annotations, images)
    config = dataclasses.replace(tiny_config, num_classes=0)
    predictor = prediction.predictor_of_random_weights(config, dataset)
    report = prediction.prediction_speed(predictor, dataset, annotations, batch_size=2, repeats=2)
    assert (report["images"], report["batch_size"]) == (5, 2)
    assert report["evaluate"]["cpu"] > report["scoring"]["cpu"] > 0 and report["model"]["cpu"] > 0
    assert report["ratio"] > 0
    table = prediction.format_prediction_speed({**report, "processor": PROCESSOR})
    assert "Evaluation of 5 images, batch 2" in table and "files to scores" in table


def test_the_training_data_is_measured_beside_decode_and_resize(tmp_path, monkeypatch):
    from mask_rcnn.benchmark import data
    from mask_rcnn.config import Config, InputConfig
    from mask_rcnn.data.readers.coco import read_coco
    from mask_rcnn.data.shapes import write_shapes

    monkeypatch.setattr(data, "NUM_IMAGES", 4)
    dataset = read_coco(*write_shapes(tmp_path, 4, (48, 64), seed=1))
    config = Config(input=InputConfig(short_side=64, train_short_sides=(64,), long_side=96))
    report = data.benchmark_data(dataset, config, batch_size=2, repeats=1)
    assert report["ratio"] == pytest.approx(report["workers"][1] / report["baseline"])
    assert report["speedup"] == pytest.approx(report["workers"][2] / report["workers"][1])
    text = data.format_data_report(report)
    assert f"Complete batches, data.workers=2: {report['workers'][2]:.1f} images/s" in text
