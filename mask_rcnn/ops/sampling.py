"""A fixed number of random positives and negatives of each image."""

import tensorflow as tf

from mask_rcnn.ops.matching import NEGATIVE, POSITIVE


def sample(labels, seeds, num_samples, positive_fraction):
    """Chooses at random which boxes of each image a loss sees (Faster R-CNN, section 3.1.3).

    At most `positive_fraction` of the samples are positives; negatives fill the rest as far as there are
    enough of them. The choice depends on the image's seed alone: the same in every run and on every replica.

    Args:
        labels: `[B, N]` int32 of `matching.match`.
        seeds: `[B, 2]` int32.
        num_samples: samples an image, S.
        positive_fraction: the largest share of positives.

    Returns:
        indices: `[B, S]` int32, the chosen boxes, positives first.
        valid: `[B, S]` bool; where it is False the index is 0 and means nothing.
    """
    noise = tf.map_fn(
        lambda seed: tf.random.stateless_uniform([tf.shape(labels)[1]], seed),
        seeds,
        fn_output_signature=tf.TensorSpec([labels.shape[1]], tf.float32),
    )  # [B, N]
    max_positives = int(num_samples * positive_fraction)
    is_positive, is_negative = labels == POSITIVE, labels == NEGATIVE
    priority = tf.where(is_negative, noise, -1.0)
    priority = _with_positives(priority, tf.where(is_positive, noise, 2.0), max_positives)
    # A small image has fewer anchors than samples, and top_k takes no k beyond its input.
    missing = tf.maximum(num_samples - tf.shape(labels)[1], 0)
    priority = tf.pad(priority, [[0, 0], [0, missing]], constant_values=-1.0)
    top, indices = tf.math.top_k(priority, k=num_samples)
    valid = top >= 0.0
    return tf.where(valid, indices, 0), valid


def _with_positives(priority, noise, max_positives):
    """Moves the positives with the lowest noise to the front, in random order.

    Args:
        priority: `[B, N]` float32, below 1.
        noise: `[B, N]` float32 below 1 of the positives, 2.0 of all other boxes.
        max_positives: how many may be moved.
    """
    lowest, places = tf.math.top_k(-noise, tf.minimum(max_positives, tf.shape(noise)[1]))  # [B, P]
    moved = tf.where(lowest > -2.0, 2.0 - lowest, tf.gather(priority, places, batch_dims=1))
    images = tf.broadcast_to(tf.range(tf.shape(places)[0])[:, None], tf.shape(places))
    return tf.tensor_scatter_nd_update(priority, tf.stack([images, places], axis=-1), moved)
