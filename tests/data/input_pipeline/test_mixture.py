"""Tests of weighted mixtures of data sets: shares, classes by name, order, errors and messages."""

import dataclasses
import json
import logging

import numpy as np
import pytest
from PIL import Image

from mask_rcnn.config import DataConfig
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.input_pipeline.batching import training_order
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.training.data_sources import check_sources
from mask_rcnn.training.fingerprint import check_fingerprint, fingerprint
from mask_rcnn.training.training_data import read_training_data

SIZE = (40, 60)


def write_set(folder, num_images, names, used=None, first_id=1, keypoints=()):
    """Writes gray images with one object of each of the `used` classes; returns the two paths."""
    folder.mkdir()
    images, objects = [], []
    for number in range(num_images):
        Image.fromarray(np.full(SIZE, 10 * number, "uint8")).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        for name in names if used is None else used:
            box = {"bbox": [10, 5, 30, 25], "area": 750, "segmentation": [[10, 5, 40, 5, 40, 30, 10, 30]]}
            category = first_id + names.index(name)
            objects.append({"id": len(objects) + 1, "image_id": number, "category_id": category, **box})
    categories = [
        {"id": first_id + index, "name": name, "keypoints": list(keypoints)}
        for index, name in enumerate(names)
    ]
    content = {"images": images, "annotations": objects, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json", folder


def mixed_config(tiny_config, first, *others, **fields):
    data = DataConfig(
        train_annotations=str(first[0]),
        train_images=str(first[1]),
        mixture=tuple(f"'{annotations}' '{images}' {share}" for annotations, images, share in others),
        **fields,
    )
    train = dataclasses.replace(tiny_config.train, batch_size=2, reference_batch_size=2, steps=8)
    return dataclasses.replace(tiny_config, num_classes=0, data=data, train=train)


def read(config):
    return read_training_data(config, folder=None)[0]


@pytest.fixture
def sets(tmp_path):
    return write_set(tmp_path / "a", 6, ("cat", "dog")), write_set(
        tmp_path / "b", 3, ("dog", "cow"), first_id=2
    )


@pytest.fixture
def mixed(tiny_config, sets):
    return read(mixed_config(tiny_config, sets[0], (*sets[1], 0.25)))


def test_classes_are_joined_by_name(mixed):
    assert [(each.id, each.name) for each in mixed.categories] == [(1, "cat"), (2, "dog"), (3, "cow")]
    names = [{mixed.categories[one.class_id - 1].name for one in image.annotations} for image in mixed.images]
    assert names == [{"cat", "dog"}] * 6 + [{"dog", "cow"}] * 3
    assert [image.source for image in mixed.images] == [0] * 6 + [1] * 3
    assert mixed.shares == (0.75, 0.25)
    np.testing.assert_array_equal(arrays_of(mixed).images, np.repeat(np.arange(9), 2))


def test_classes_without_an_object_in_a_set_are_reported_with_counts(tiny_config, tmp_path, caplog):
    first = write_set(tmp_path / "a", 4, ("cat", "dog"), used=("cat",))
    second = write_set(tmp_path / "b", 2, ("dog",))
    with caplog.at_level(logging.WARNING):
        read(mixed_config(tiny_config, first, (*second, 0.5)))
    (text,) = [each.getMessage() for each in caplog.records if "mixture" in each.getMessage()]
    assert "4 images: dog (2 in the others)" in text and "2 images: cat (4 in the others)" in text


def test_an_epoch_has_each_set_by_its_share():
    sources = np.repeat([0, 1, 2], [80, 10, 10])
    shares = (0.5, 0.3, 0.2)
    order = training_order(
        np.array([SIZE] * 100), 10, 40, seed=3, repeats=None, sources=sources, shares=shares
    ).reshape(4, 100)
    for epoch in order:
        assert np.bincount(sources[epoch]).tolist() == [50, 30, 20]
    counts = np.bincount(order.ravel(), minlength=100)
    for source, expected in enumerate((2.5, 12, 8)):  # all images of a set equally often
        assert set(counts[sources == source]) <= {int(expected), int(np.ceil(expected))}
    share_of_batches = (sources[order.reshape(40, 10)] == 0).mean(axis=1)
    assert share_of_batches.min() >= 0.2 and share_of_batches.max() <= 0.8  # evenly over the epoch


def test_the_order_depends_on_the_seed_and_on_nothing_else():
    sizes, sources = np.array([SIZE] * 20), np.repeat([0, 1], [15, 5])

    def order(steps, seed):
        return training_order(sizes, 4, steps, seed=seed, repeats=None, sources=sources, shares=(0.4, 0.6))

    np.testing.assert_array_equal(order(30, 1)[:11], order(11, 1))
    assert (order(30, 1) != order(30, 2)).any()


def test_rare_classes_are_repeated_within_their_set(tiny_config, sets):
    config = mixed_config(tiny_config, sets[0], (*sets[1], 0.25), repeat_threshold=1.0)
    repeats = np.array([4.0, 1, 1, 1, 1, 1, 1, 1, 1])
    order = training_order(
        np.array([SIZE] * 9),
        3,
        300,
        seed=0,
        repeats=repeats,
        sources=np.repeat([0, 1], [6, 3]),
        shares=(0.75, 0.25),
    )
    counts = np.bincount(order.ravel()) / 100
    np.testing.assert_allclose(counts, [0.75 * 4, *[0.75] * 5, *[0.75] * 3], atol=0.02)
    assert len(list(training_dataset(read(config), config))) == 8


def test_a_resumed_run_gets_the_same_batches(tiny_config, mixed, sets):
    config = mixed_config(tiny_config, sets[0], (*sets[1], 0.25))
    whole = list(training_dataset(mixed, config))
    for resumed, batch in zip(training_dataset(mixed, config, first_step=5), whole[5:], strict=True):
        for name in batch:
            np.testing.assert_array_equal(resumed[name], batch[name])


def test_images_that_join_others_come_by_their_share(tiny_config, mixed, sets):
    from mask_rcnn.data.input_pipeline.batching import batch_plan

    plan = batch_plan(mixed, mixed_config(tiny_config, sets[0], (*sets[1], 0.25)))
    joined = [next(plan.other_candidates(step, 0, 0)) for step in range(400)]
    assert np.mean(np.array(joined) >= 6) == pytest.approx(0.25, abs=0.08)


def test_the_fingerprint_covers_all_sets_and_shares(tiny_config, mixed, sets):
    config = mixed_config(tiny_config, sets[0], (*sets[1], 0.25))
    mark = fingerprint(config, mixed)
    check_fingerprint(json.loads(json.dumps(mark)), fingerprint(config, read(config)))
    other = mixed_config(tiny_config, sets[0], (*sets[1], 0.3))
    with pytest.raises(ValueError, match="other shares|shares of a mixture"):
        check_fingerprint(mark, fingerprint(other, read(other)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"mixture": ("b.json photos 0.5",)},
            "`data.mixture` adds data sets .*train_annotations",
        ),
        (
            {"train_annotations": "a.json", "mixture": ("b.json 0.5",)},
            "json, its image folder .* 'b.json 0.5'",
        ),
        ({"train_annotations": "a.json", "mixture": ("b.json photos 0",)}, "above 0"),
        ({"train_annotations": "a.json", "mixture": ("b.json x 0.5", "c.json x 0.5")}, "sum below 1"),
        ({"train_annotations": "a.json", "mixture": ("./a.json photos 0.5",)}, "must occur once"),
    ],
)
def test_a_mixture_that_means_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**fields)


def test_a_file_that_does_not_exist_is_refused_before_anything_is_read(tiny_config, sets):
    config = mixed_config(tiny_config, sets[0], ("nowhere.json", sets[1][1], 0.25))
    with pytest.raises(
        ValueError, match=r"`data.mixture` must be a COCO json.*'nowhere.json', which does not"
    ):
        check_sources(config.data)


def test_a_set_without_objects_is_refused_by_name(tiny_config, sets, tmp_path):
    empty = write_set(tmp_path / "empty", 2, ("cat",), used=())
    with pytest.raises(ValueError, match=r"empty.instances\.json with 2 images and no object"):
        read(mixed_config(tiny_config, sets[0], (*empty, 0.25)))


def test_a_class_with_other_keypoints_is_refused(tiny_config, sets, tmp_path):
    other = write_set(tmp_path / "c", 2, ("cat",), keypoints=("nose",))
    with pytest.raises(ValueError, match="same keypoints .*'cat' with none in .*, and nose"):
        read(mixed_config(tiny_config, sets[0], (*other, 0.25)))
