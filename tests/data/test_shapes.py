import numpy as np

from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import CLASSES, draw_scene, write_shapes


def test_shapes_are_read_like_any_coco_folder(tmp_path):
    dataset = read_coco(*write_shapes(tmp_path, 4, (48, 64), seed=0))
    assert [category.name for category in dataset.categories] == list(CLASSES)
    assert [image.path.suffix for image in dataset.images] == [".png", ".jpg"] * 2
    np.testing.assert_array_equal(dataset.sizes, [[48, 64]] * 4)
    assert read_image(dataset.images[0].path).shape == (48, 64, 3)


def test_the_same_seed_writes_the_same_files(tmp_path):
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_shapes(tmp_path / name, 2, (32, 32), seed=seed)
    for file in ("instances.json", "images/000000.png", "images/000001.jpg"):
        first, again, other = ((tmp_path / name / file).read_bytes() for name in ("first", "again", "other"))
        assert first == again
        assert first != other


def test_a_longer_set_starts_with_the_shorter_one(tmp_path):
    short = read_coco(*write_shapes(tmp_path / "short", 2, (32, 32), seed=0))
    long = read_coco(*write_shapes(tmp_path / "long", 3, (32, 32), seed=0))
    assert [image.annotations for image in short.images] == [image.annotations for image in long.images[:2]]


def test_masks_never_overlap_and_boxes_are_tight(tmp_path):
    dataset = read_coco(*write_shapes(tmp_path, 12, (64, 64), seed=3))
    for image in dataset.images:
        covered = np.zeros((64, 64), int)
        for annotation in image.annotations:
            mask = full_mask(annotation.segmentation, 64, 64)
            covered += mask
            (y, x) = np.nonzero(mask)
            assert annotation.box == (y.min(), x.min(), y.max() + 1, x.max() + 1)
            assert annotation.area == mask.sum()
        assert covered.max(initial=0) <= 1


def test_scenes_have_all_classes_hidden_objects_and_some_have_no_object():
    scenes = [draw_scene(np.random.default_rng([0, index]), (64, 64)) for index in range(60)]
    class_ids = [class_id for _, scene_ids, _ in scenes for class_id in scene_ids]
    assert set(class_ids) == {1, 2, 3}
    assert 0 < sum(not scene_ids for _, scene_ids, _ in scenes) < 12
    assert max(len(scene_ids) for _, scene_ids, _ in scenes) >= 5
