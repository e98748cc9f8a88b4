"""Tests of weights files: values are restored, and errors say what does not fit."""

import dataclasses
import json
import types

import h5py
import keras
import numpy as np
import pytest

from mask_rcnn import config_io
from mask_rcnn.model import build_parts
from mask_rcnn.structures import Category
from mask_rcnn.weights import assign, load_weights, read_header, save_weights, variables

CATEGORIES = (Category(1, "cat"), Category(17, "dog, small"), Category(90, "Bär"))


@pytest.fixture(scope="module")
def saved(tiny_parts, tiny_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run" / "best.weights.h5"
    save_weights(path, tiny_parts, tiny_config, categories=CATEGORIES)
    return path


@pytest.fixture
def other_parts(tiny_config):
    """Networks of the same config with other weights."""
    return build_parts(tiny_config)


def arrays_of(parts):
    return {name: np.asarray(variable) for name, variable in variables(parts).items()}


def assert_same(actual, desired):
    assert actual.keys() == desired.keys()
    for name, array in desired.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def test_variables_are_named_by_part_and_layer(tiny_parts):
    names = list(variables(tiny_parts))
    assert names[0] == "backbone/stem/kernel"
    assert "rpn_head/objectness/bias" in names and "mask_head/predictor/kernel" in names
    assert len(names) == sum(len(part.weights) for part in tiny_parts.named().values())


def test_what_was_saved_is_loaded(saved, tiny_parts, other_parts):
    load_weights(saved, other_parts)
    assert_same(arrays_of(other_parts), arrays_of(tiny_parts))


def test_a_file_carries_its_config_and_categories(saved, tiny_config):
    config, categories = read_header(saved)
    assert config == tiny_config
    assert categories == CATEGORIES


def test_nothing_is_left_beside_the_file(saved):
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_file_can_be_read_without_this_library(saved):
    with h5py.File(saved) as file:
        assert file["fpn/lateral2/kernel"].shape == (1, 1, 24, 16)
        category = json.loads(file.attrs["categories"])[1]
        assert category == {"id": 17, "name": "dog, small", "keypoints": [], "skeleton": []}


def test_a_crash_while_writing_leaves_the_old_file(saved, tiny_parts, tiny_config, monkeypatch):
    before = saved.read_bytes()

    def crash(config):
        raise OSError("No space left on device")

    monkeypatch.setattr(config_io, "to_yaml", crash)
    with pytest.raises(OSError, match="No space left"):
        save_weights(saved, tiny_parts, tiny_config, categories=CATEGORIES)
    assert saved.read_bytes() == before


def test_the_weights_of_another_number_of_classes_do_not_fit(saved, tiny_config):
    parts = build_parts(dataclasses.replace(tiny_config, num_classes=5))
    before = arrays_of(parts)
    with pytest.raises(ValueError) as caught:
        load_weights(saved, parts)
    message = str(caught.value)
    assert str(saved) in message
    assert "6 with another shape" in message
    assert "box_head/class_logits/kernel: (32, 4) in the file, (32, 6) in the model" in message
    assert "Build the model from the config that belongs to the file" in message
    assert_same(arrays_of(parts), before)


def test_missing_and_unexpected_names_are_both_listed(other_parts):
    arrays = arrays_of(other_parts)
    before = dict(arrays)
    arrays["fpn/lateral9/kernel"] = arrays.pop("fpn/lateral2/kernel")
    with pytest.raises(ValueError) as caught:
        assign(other_parts, arrays, "somewhere")
    message = str(caught.value)
    assert "1 missing in the file:\n    fpn/lateral2/kernel\n" in message
    assert "1 unknown to the model:\n    fpn/lateral9/kernel\n" in message
    assert_same(arrays_of(other_parts), before)


def test_long_lists_are_shortened(other_parts):
    with pytest.raises(ValueError, match=r"missing in the file:\n(    .*\n){12}    and \d+ more\n"):
        assign(other_parts, {}, "nowhere")


def test_a_missing_file_is_named(tmp_path, other_parts):
    for read in (read_header, lambda path: load_weights(path, other_parts)):
        with pytest.raises(FileNotFoundError, match=r"no weights file .*absent\.weights\.h5"):
            read(tmp_path / "absent.weights.h5")


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match="Expected a weights file of format .*a.weights.h5, 16 bytes"):
        read_header(path)


def test_weights_of_another_program_are_refused_with_advice(tmp_path):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv"] = np.zeros(3)
    with pytest.raises(ValueError, match="of another program.*mask-rcnn models convert"):
        read_header(path)


def test_a_truncated_file_is_refused(saved, tmp_path):
    path = tmp_path / "half.weights.h5"
    path.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    with pytest.raises(ValueError, match="with another checksum: the file is damaged"):
        read_header(path)


def test_parts_of_another_config_are_not_saved(tmp_path, tiny_parts, tiny_config):
    config = dataclasses.replace(tiny_config, fpn=dataclasses.replace(tiny_config.fpn, channels=8))
    with pytest.raises(ValueError, match=r"do not fit the model(.|\n)*fpn/lateral2/kernel: .*24, 16.*24, 8"):
        save_weights(tmp_path / "a.weights.h5", tiny_parts, config, categories=CATEGORIES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "categories, message",
    [
        (CATEGORIES[:2], "2 categories, num_classes=3"),
        ((*CATEGORIES[:2], Category(1, "cow")), "unique id"),
        ((*CATEGORIES[:2], Category(2, "cat")), "unique name"),
        ((*CATEGORIES[:2], Category(True, "cow")), "an integer"),
        ((*CATEGORIES[:2], Category(2, "")), "1 to 1000 characters"),
        ((*CATEGORIES[:2], Category(2, 7)), "1 to 1000 characters"),
        ((*CATEGORIES[:2], Category(2, "cow", ("nose",), ((1, 2),))), "keypoint numbers, 1 to 1"),
    ],
)
def test_categories_that_do_not_fit_are_not_saved(tmp_path, tiny_parts, tiny_config, categories, message):
    with pytest.raises(ValueError, match=message):
        save_weights(tmp_path / "a.weights.h5", tiny_parts, tiny_config, categories=categories)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, tiny_config, other_parts, value):
    other_parts.fpn.weights[0].assign(np.full(other_parts.fpn.weights[0].shape, value))
    with pytest.raises(ValueError, match="1 invalid:\n    fpn/.*: NaN, infinite"):
        save_weights(tmp_path / "a.weights.h5", other_parts, tiny_config, categories=CATEGORIES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["complex64", "int32", "S4", "bool"])
def test_only_floating_point_numbers_are_weights(other_parts, dtype):
    arrays = arrays_of(other_parts)
    name = next(iter(arrays))
    before = arrays_of(other_parts)
    arrays[name] = np.zeros(arrays[name].shape, dtype)
    with pytest.raises(ValueError, match=f"{name}: of dtype"):
        assign(other_parts, arrays, "somewhere")
    assert_same(arrays_of(other_parts), before)


def test_a_flipped_bit_is_found_wherever_it_is(saved, tmp_path):
    content, path = saved.read_bytes(), tmp_path / "a.weights.h5"
    for place in np.random.default_rng(0).integers(len(content), size=10):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"a\.weights\.h5.*(checksum|another version)"):
            read_header(path)


def test_the_error_for_a_damaged_file_leaves_no_file_open(tmp_path):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(ValueError):
        read_header(path)
    with h5py.File(path, "r+") as file:  # fails if the file is still open
        file["b"] = np.zeros(3)


class Unnamed(keras.layers.Layer):
    def build(self, input_shape):
        self.first, self.second = self.add_weight(shape=(1,)), self.add_weight(shape=(1,))

    def call(self, x):
        return x * self.first + self.second


def test_numbers_that_keras_gives_variables_without_a_name_are_left_out():
    def names():
        inputs = keras.Input((1,))
        model = keras.Model(inputs, Unnamed(name="scale")(inputs))
        return list(variables(types.SimpleNamespace(named=lambda: {"backbone": model})))

    assert names() == names() == ["backbone/scale/variable", "backbone/scale/variable#2"]
