"""Tests of sampling: fixed numbers of positives and negatives, determined by the seed."""

import numpy as np
import tensorflow as tf

from mask_rcnn.ops.matching import IGNORED, NEGATIVE, POSITIVE
from mask_rcnn.ops.sampling import sample


def labels_of(positives, negatives, ignored=0):
    return [POSITIVE] * positives + [NEGATIVE] * negatives + [IGNORED] * ignored


def sample_one(labels, num_samples, fraction=0.5, seed=(0, 0)):
    """Samples in a batch of one image; returns the labels of the sampled boxes and all indices, `[S]`."""
    indices, valid = sample(
        tf.constant([labels]), tf.constant([seed]), num_samples=num_samples, positive_fraction=fraction
    )
    indices, valid = indices[0].numpy(), valid[0].numpy()
    return np.array(labels)[indices[valid]].tolist(), indices, valid


def test_positives_come_first_and_are_at_most_their_fraction():
    chosen, _, valid = sample_one(labels_of(10, 10), 8, 0.25)
    assert chosen == labels_of(2, 6)
    assert valid.all()


def test_negatives_fill_the_place_of_missing_positives():
    chosen, _, _ = sample_one(labels_of(1, 10), 8)
    assert chosen == labels_of(1, 7)


def test_positives_do_not_fill_the_place_of_missing_negatives():
    chosen, _, valid = sample_one(labels_of(10, 2), 8)
    assert chosen == labels_of(4, 2)
    assert valid.tolist() == [True] * 6 + [False] * 2


def test_ignored_boxes_are_never_chosen():
    chosen, _, valid = sample_one(labels_of(1, 1, 10), 4)
    assert chosen == labels_of(1, 1)
    assert valid.sum() == 2


def test_fewer_boxes_than_samples_leave_the_rest_invalid():
    chosen, indices, valid = sample_one(labels_of(1, 2), 8)
    assert chosen == labels_of(1, 2)
    assert valid.tolist() == [True] * 3 + [False] * 5
    assert (indices < 3).all()  # valid for tf.gather, also in padding rows


def test_no_box_is_chosen_twice():
    _, indices, _ = sample_one(labels_of(40, 60), 64)
    assert len(set(indices)) == 64


def test_every_box_has_the_same_chance():
    seeds = tf.stack([tf.zeros(400, tf.int32), tf.range(400)], axis=-1)
    labels = tf.tile(tf.constant([labels_of(6, 6)]), [400, 1])
    indices, _ = sample(labels, seeds, num_samples=6, positive_fraction=0.5)
    counts = np.bincount(indices.numpy().ravel(), minlength=12)
    # Binomial with 400 draws of probability 1/2: 200, standard deviation 10.
    assert np.abs(counts - 200).max() < 45


def test_the_seed_decides():
    _, first, _ = sample_one(labels_of(50, 50), 16, seed=(3, 4))
    _, again, _ = sample_one(labels_of(50, 50), 16, seed=(3, 4))
    _, other, _ = sample_one(labels_of(50, 50), 16, seed=(3, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_image_is_sampled_alike_in_every_batch():
    labels = tf.constant([labels_of(20, 30), labels_of(5, 40, 5)])
    seeds = tf.constant([[0, 7], [1, 7]])
    together = sample(labels, seeds, num_samples=12, positive_fraction=0.5)
    for image in range(2):
        alone = sample(
            labels[image : image + 1], seeds[image : image + 1], num_samples=12, positive_fraction=0.5
        )
        np.testing.assert_array_equal(together[0][image], alone[0][0])
        np.testing.assert_array_equal(together[1][image], alone[1][0])


def test_shapes_are_known_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, 10], tf.int32), tf.TensorSpec([None, 2], tf.int32)])
    def trace(labels, seeds):
        indices, valid = sample(labels, seeds, num_samples=4, positive_fraction=0.5)
        assert indices.shape[1:] == valid.shape[1:] == (4,)
        return indices

    assert trace(tf.constant([labels_of(5, 5)]), tf.constant([[0, 0]])).shape == (1, 4)
