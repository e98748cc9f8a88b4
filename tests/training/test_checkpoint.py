"""Tests that a checkpoint is complete or absent, and restores the complete state."""

import h5py
import keras
import numpy as np
import pytest
from training_toy import make_batches, make_trainer

from mask_rcnn.system import verified_hdf5
from mask_rcnn.training.checkpoint import FORMAT, checkpoints, restore_latest, save_checkpoint


def built(**changes):
    trainer = make_trainer(**changes)
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def values(trainer):
    return [np.asarray(variable) for variable in [*trainer.variables, *trainer.optimizer.variables]]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_weights_momentum_and_step_come_back(tmp_path, precision):
    trainer = built(precision=precision)
    trainer.fit(make_batches(steps=2), shuffle=False, verbose=0)
    save_checkpoint(tmp_path, trainer, {"step": 2, "best": 0.5}, keep=2)

    other = built(seed=1, precision=precision)
    assert restore_latest(tmp_path, other) == {"step": 2, "best": 0.5}
    for restored, saved in zip(values(other), values(trainer), strict=True):
        np.testing.assert_array_equal(restored, saved)


def test_only_the_newest_are_kept(tmp_path):
    trainer = built()
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, trainer, {"step": step}, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000002.h5", "step_00000010.h5"]


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_a_truncated_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog, part):
    trainer = built()
    for step in (1, 2):
        newest = save_checkpoint(tmp_path, trainer, {"step": step}, keep=2)
    content = newest.read_bytes()
    newest.write_bytes(content[: int(part * len(content))])
    assert restore_latest(tmp_path, trainer) == {"step": 1}
    assert "step_00000002.h5 cannot be read" in caplog.text


def test_a_run_killed_while_it_wrote_leaves_no_checkpoint_of_that_step(tmp_path):
    trainer = built()
    save_checkpoint(tmp_path, trainer, {"step": 1}, keep=2)
    (tmp_path / ".step_00000002.h5.123").write_bytes(b"half")
    assert restore_latest(tmp_path, trainer) == {"step": 1}


def test_no_checkpoint_is_none(tmp_path):
    assert restore_latest(tmp_path / "nowhere", built()) is None


def test_a_checkpoint_of_another_model_is_an_error(tmp_path):
    trainer = built()
    save_checkpoint(tmp_path, trainer, {"step": 1}, keep=1)
    other = make_trainer()
    other.layers[-1].trainable = False
    other.optimizer = type(other.optimizer)(momentum=0.0)
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(ValueError, match=r"unknown to the model: optimizer/conv_kernel_momentum, "):
        restore_latest(tmp_path, other)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    trainer = built()
    gamma = trainer.trainable_variables[1]
    gamma.assign(np.full(gamma.shape, np.nan))
    with pytest.raises(ValueError, match=r"gamma holds NaN or infinity after step=7"):
        save_checkpoint(tmp_path, trainer, {"step": 7}, keep=1)
    assert not checkpoints(tmp_path)


def reseal(path, change):
    """Modifies a checkpoint, and corrects its checksum."""
    with h5py.File(path, "r+") as file:
        change(file)
    with open(path, "r+b") as file:
        label = verified_hdf5._label(FORMAT, file)
        file.seek(0)
        file.write(label)


def set_state(text):
    return lambda file: file.attrs.__setitem__("state", text)


@pytest.mark.parametrize(
    "change",
    [
        set_state("{"),
        set_state("[]"),
        set_state('{"step": "2"}'),
        set_state('{"best": 0.5}'),
        set_state("[" * 100_000),
        lambda file: file.attrs.__delitem__("state"),
        lambda file: file["model/conv/kernel"].__setitem__(..., np.nan),
        lambda file: file.__setitem__("loop", h5py.SoftLink("/model")),
    ],
)
def test_an_implausible_checkpoint_is_passed_over_and_changes_nothing(tmp_path, caplog, change):
    trainer = built()
    for step in (1, 2):
        newest = save_checkpoint(tmp_path, trainer, {"step": step}, keep=2)
    reseal(newest, change)
    assert restore_latest(tmp_path, trainer) == {"step": 1}
    assert "step_00000002.h5 cannot be read" in caplog.text


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path):
    trainer = built()
    for step in (1, 2):
        newest = save_checkpoint(tmp_path, trainer, {"step": step}, keep=2)
    content = newest.read_bytes()
    for place in np.random.default_rng(0).integers(len(content), size=20):
        newest.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        assert restore_latest(tmp_path, trainer) == {"step": 1}


def test_damage_to_all_checkpoints_is_an_error_that_names_them(tmp_path):
    trainer = built()
    before = values(trainer)
    for step in (1, 2):
        save_checkpoint(tmp_path, trainer, {"step": step}, keep=2).write_bytes(b"gone")
    with pytest.raises(ValueError, match=r"step_00000001\.h5, .*step_00000002\.h5"):
        restore_latest(tmp_path, trainer)
    for now, then in zip(values(trainer), before, strict=True):
        np.testing.assert_array_equal(now, then)


class UnnamedWeights(keras.layers.Layer):
    """Weights without names, as in ConvNeXt's layer scales. Keras numbers them over the complete process."""

    def build(self, input_shape):
        self.scale, self.shift = self.add_weight(shape=(3,)), self.add_weight(shape=(3,))

    def call(self, inputs):
        return inputs * self.scale + self.shift


def test_variables_without_a_name_come_back_in_a_process_that_counts_otherwise(tmp_path):
    def with_unnamed_weights():
        inputs = keras.Input([3])
        model = keras.Model(inputs, UnnamedWeights(name="layer_scale")(inputs))
        model.compile(optimizer=keras.optimizers.SGD(momentum=0.9))
        model.optimizer.build(model.trainable_variables)
        return model

    saved, restored = with_unnamed_weights(), with_unnamed_weights()
    assert saved.variables[0].path != restored.variables[0].path
    save_checkpoint(tmp_path, saved, {"step": 1}, keep=1)
    assert restore_latest(tmp_path, restored) == {"step": 1}
    for ours, theirs in zip(values(restored), values(saved), strict=True):
        np.testing.assert_array_equal(ours, theirs)
