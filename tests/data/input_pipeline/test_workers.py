"""Tests of training data from worker processes: equal to that of threads, with clear errors."""

import dataclasses

import pytest
from training_batches import assert_equal, batches, config
from worker_transforms import kill_itself, tell_process

from mask_rcnn.data.input_pipeline import workers
from mask_rcnn.data.input_pipeline.bad_images import BadImages
from mask_rcnn.data.input_pipeline.pipeline import images_of_step
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes

JITTER = ("scale_jitter low=0.5 high=1.5", "color_jitter")


@pytest.fixture
def shapes(tmp_path):
    return read_coco(*write_shapes(tmp_path, 6, (48, 64), seed=1))


def test_processes_give_the_batches_of_threads_with_bad_images_and_after_a_resume(shapes):
    shapes.images[3].path.write_bytes(b"no image")
    whole = batches(shapes, config(0, transforms=JITTER))
    bad_images = BadImages(shapes, config(2))
    assert_equal(batches(shapes, config(2, transforms=JITTER), bad_images=bad_images), whole)
    assert list(bad_images.reasons) == [3]
    used = [
        record
        for step in range(6)
        for record in images_of_step(shapes, config(2), step, bad_images=bad_images)
    ]
    assert shapes.images[3] not in used
    assert_equal(batches(shapes, config(1, transforms=JITTER), first_step=4), whole[4:])


def test_a_worker_needs_no_tensorflow_and_sees_no_gpu(shapes):
    (batch,) = batches(shapes, config(1, steps=1, resize="antialiased_uint8"), transforms=(tell_process,))
    has_tensorflow, hides_gpus, is_worker = batch["images"][0, 0, 0]
    assert (has_tensorflow, hides_gpus, is_worker) == (0, 1, 1)


def test_images_larger_than_their_shared_memory_take_the_pipe(shapes, monkeypatch):
    expected = batches(shapes, config(0, steps=1))
    monkeypatch.setattr(workers, "SHARED_MEMORY", workers.Path("/proc"))  # has no free space
    assert_equal(batches(shapes, config(1, steps=1)), expected)


def test_a_killed_worker_ends_the_run_with_one_clear_error(shapes):
    with pytest.raises(Exception, match="must stay alive. Received: one was killed.*`data.workers`"):
        batches(shapes, config(1, steps=1), transforms=(kill_itself,))


def test_a_transform_that_cannot_be_pickled_is_refused(shapes):
    transforms = (lambda sample, rng: sample,)
    assert len(batches(shapes, config(0, steps=1), transforms=transforms)) == 1
    with pytest.raises(Exception, match="can be pickled.*top level of a file"):
        batches(shapes, config(1, steps=1), transforms=transforms)


@pytest.mark.parametrize("result", [None, "short"])
def test_a_transform_must_return_a_sound_sample(shapes, result):
    def transform(sample, rng):
        return dataclasses.replace(sample, boxes=sample.boxes[:-1]) if result else None

    expected = "one row for each object" if result else "must return a `Sample`"
    with pytest.raises(Exception, match=expected):
        batches(shapes, config(0, steps=1), transforms=(transform,))


def test_a_batch_is_as_small_as_its_images_allow_after_the_transforms(shapes):
    (plain,) = batches(shapes, config(0, steps=1, train_short_sides=(64,)))
    (small,) = batches(shapes, config(0, steps=1, train_short_sides=(64,), transforms=("crop height=0.4",)))
    assert plain["images"].shape[1:3] == (64, 96)
    assert small["images"].shape[1:3] == (32, 96)
    assert (small["image_sizes"] == [26, 68]).all()
