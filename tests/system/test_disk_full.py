"""Tests that a full disk gives an error that names the file, and that earlier files stay intact."""

import contextlib
import shutil
import subprocess

import keras
import numpy as np
import pytest
from training_toy import make_batches, make_trainer, run_toy

from mask_rcnn.cli.errors import USER_ERROR, describe_error
from mask_rcnn.system.files import DiskFull, disk_full_errors
from mask_rcnn.system.hdf5 import read_hdf5
from mask_rcnn.system.verified_hdf5 import verify, write_verified
from mask_rcnn.training.checkpoint import FORMAT, checkpoints

FILLER = "filler"


@pytest.fixture
def disk(tmp_path):
    """The folder of a file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("needs the program mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system: {done.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # TensorBoard's writer still has a file open


def fill(disk):
    with contextlib.suppress(OSError), open(disk / FILLER, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


class FillAfter(keras.callbacks.Callback):
    """Fills the disk after a step."""

    def __init__(self, disk, step):
        super().__init__()
        self.disk, self.step = disk, step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            fill(self.disk)


def test_a_checkpoint_without_room_costs_nothing_and_the_run_continues_once_there_is_space(disk, tmp_path):
    expected = make_trainer()
    run_toy(expected, make_batches, tmp_path / "expected")
    run = disk / "run"
    with pytest.raises(DiskFull, match=r"step_00000008\.h5 of about [\d,]{5,} bytes.* bytes free") as error:
        run_toy(make_trainer(), make_batches, run, callbacks=[FillAfter(disk, 6)])
    assert describe_error(error.value) == (str(error.value), USER_ERROR)
    (saved,) = checkpoints(run / "checkpoints")
    assert saved.name == "step_00000004.h5"
    verify(saved, FORMAT, "checkpoint")
    assert not [path for path in run.rglob(".*")]

    (disk / FILLER).unlink()
    trainer = make_trainer(seed=1)
    run_toy(trainer, make_batches, run)
    for ours, theirs in zip(trainer.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (run / "log.csv").read_text().count("\n") == 11


@pytest.mark.parametrize("num_arrays", [1, 300])
def test_weights_without_room_leave_the_file_of_before(disk, num_arrays):
    path = disk / "best.weights.h5"
    write_verified(path, "test 1", texts={}, arrays={"a": np.arange(3.0)})
    fill(disk)
    arrays = {f"a{index}": np.zeros(3000 // num_arrays) for index in range(num_arrays)}
    with pytest.raises(DiskFull, match=r"best\.weights\.h5 of about 24,000 bytes"):
        write_verified(path, "test 1", texts={}, arrays=arrays)
    verify(path, "test 1", "test file")
    np.testing.assert_array_equal(read_hdf5(path)["a"], np.arange(3.0))
    assert {each.name for each in disk.iterdir()} == {path.name, FILLER}


def test_an_error_of_another_kind_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), disk_full_errors(tmp_path / "a"):
        (tmp_path / "absent").read_text()
