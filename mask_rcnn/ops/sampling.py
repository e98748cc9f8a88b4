"""Random sampling of a fixed number of positives and negatives per image."""

import tensorflow as tf

from mask_rcnn.ops.matching import NEGATIVE, POSITIVE
from mask_rcnn.ops.tensor import Tensor


def sample(
    labels: Tensor, seeds: Tensor, *, num_samples: int, positive_fraction: float
) -> tuple[Tensor, Tensor]:
    """Returns a random sample of boxes per image for a loss (Faster R-CNN, section 3.1.3).

    At most `positive_fraction` of the samples are positives. Negatives fill the rest, as far as there are
    enough. The sample depends only on the labels and the seed of the image, so it is the same in every run
    and on every replica.

    Args:
        labels: `[B, N]` int32 of `matching.match`.
        seeds: `[B, 2]` int32, the random seed of each image.
        num_samples: Samples per image, S.
        positive_fraction: Maximum fraction of positives, 0..1.

    Returns:
        Tuple of
        indices: `[B, S]` int32, the sampled boxes, positives first; 0 where not valid.
        valid: `[B, S]` bool. It is False in the rows that no box was left for.
    """
    noise = tf.map_fn(
        lambda seed: tf.random.stateless_uniform(tf.shape(labels)[1:], seed),
        seeds,
        fn_output_signature=tf.TensorSpec([labels.shape[1]], tf.float32),
    )  # [B, N]
    max_positives = int(num_samples * positive_fraction)
    is_positive, is_negative = labels == POSITIVE, labels == NEGATIVE
    priority = tf.where(is_negative, noise, -1.0)
    priority = _with_positives(priority, tf.where(is_positive, noise, 2.0), max_positives)
    # A small image has fewer anchors than samples. top_k requires k of at most the size of its input.
    missing = tf.maximum(num_samples - tf.shape(labels)[1], 0)
    padding = [[0, 0], [0, missing]]
    priority = tf.pad(priority, padding, constant_values=-1.0)  # pyright: ignore[reportArgumentType]  # stubs
    top, indices = tf.math.top_k(priority, k=num_samples)
    valid = top >= 0.0
    return tf.where(valid, indices, 0), valid


def _with_positives(priority, noise, max_positives):
    """Returns `priority` with new values above 1 for the positives with the lowest noise.

    Args:
        priority: `[B, N]` float32, below 1.
        noise: `[B, N]` float32: random numbers in 0..1 for positives, 2.0 for all other boxes.
        max_positives: Maximum number of positives to raise.

    Returns:
        `[B, N]` float32. A positive with the noise x gets the priority 2 - x.
    """
    lowest, indices = tf.math.top_k(-noise, tf.minimum(max_positives, tf.shape(noise)[1]))  # [B, P]
    moved = tf.where(lowest > -2.0, 2.0 - lowest, tf.gather(priority, indices, batch_dims=1))
    images = tf.broadcast_to(tf.range(tf.shape(indices)[0])[:, None], tf.shape(indices))
    return tf.tensor_scatter_nd_update(priority, tf.stack([images, indices], axis=-1), moved)
