"""Decides the order of training images: which image is at which position of which batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mask_rcnn.config import Config
from mask_rcnn.data.dataset_arrays import arrays_of, classes_of_images
from mask_rcnn.data.input_pipeline.mixture import mixed_epochs
from mask_rcnn.data.records import Dataset

# Bounds between groups by width / height: beyond 2:3, between 3:4 and square, square, and so on to 3:2.
ASPECT_BOUNDS = (1 / 1.55, 1 / 1.2, 1.0, 1.2, 1.55)
REPLACEMENTS, OTHERS = 1, 2  # parts of seeds, so that these random numbers differ from those of the examples
LANDSCAPE = 3  # first group of images that are at least as wide as high


def shape_groups(sizes: ArrayLike) -> np.ndarray:
    """Returns the aspect ratio group of each image. Images of one group need little padding in a batch.

    Args:
        sizes: `[N, 2]`, (height, width) of each image.

    Returns:
        `[N]` int64, 0 (tall) to 5 (wide).
    """
    height, width = np.moveaxis(np.asarray(sizes), -1, 0)
    return np.digitize(width / height, ASPECT_BOUNDS)


def join_rare_groups(groups: np.ndarray, batch_size: int) -> np.ndarray:
    """Merges each group with fewer images than a batch into a neighboring group.

    Tall groups are merged with tall ones and wide groups with wide ones if possible, otherwise with the
    smaller neighbor.

    Args:
        groups: `[N]` int, from `shape_groups`.
        batch_size: Number of images per batch.

    Returns:
        `[N]` int, the group of each image for batching. Each group has at least `batch_size` images. A
        smaller data set is one group.
    """
    joined = groups.copy()
    while True:
        numbers, counts = np.unique(joined, return_counts=True)
        rare = counts.argmin()
        if len(numbers) == 1 or counts[rare] >= batch_size:
            return joined
        is_wide = numbers >= LANDSCAPE
        neighbors = [index for index in (rare - 1, rare + 1) if 0 <= index < len(numbers)]
        nearest = min(neighbors, key=lambda index: (is_wide[index] != is_wide[rare], counts[index]))
        joined[joined == numbers[rare]] = numbers[nearest]


def repeat_factors(dataset: Dataset, threshold: float) -> np.ndarray:
    """Returns the mean number of repeats of each image per epoch, so that rare classes are seen more often.

    A class that occurs in a fraction f of the images has the factor max(1, sqrt(threshold / f)). An image has
    the largest factor of its classes (Gupta et al. 2019, LVIS, appendix B).

    Args:
        dataset: `Dataset`.
        threshold: Fraction of the images below which a class is rare, 0 to 1.

    Returns:
        `[N]` float64, at least 1.
    """
    arrays = arrays_of(dataset)
    images, class_ids = classes_of_images(arrays)
    num_images = np.bincount(class_ids, minlength=dataset.num_classes + 1)
    factors = np.sqrt(threshold * len(dataset) / np.maximum(num_images, 1))
    repeats = np.ones(len(dataset))
    np.maximum.at(repeats, images, factors[class_ids])
    return repeats


def training_order(
    sizes: np.ndarray,
    batch_size: int,
    steps: int,
    *,
    seed: int,
    repeats: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    shares: Sequence[float] = (),
) -> np.ndarray:
    """Returns the complete order of a run: the image at each position of each batch.

    In each epoch, every image is queued once in random order, or as often as `repeats` says. The copies of an
    image are spread over the epoch. All images of a batch belong to one group of `join_rare_groups`. Images
    that do not fill a batch come first in the next epoch. No batch contains an image twice, with two
    exceptions: the data set is smaller than a batch, or an image has so many repeats that its copies meet in
    a batch.

    Args:
        sizes: `[N, 2]`, (height, width) of each image.
        batch_size: Number of images per batch.
        steps: Number of batches.
        seed: Seed of the permutations.
        repeats: `[N]` from `repeat_factors`. The fraction is the probability of one more copy. Defaults to 1
            for each image.
        sources, shares: Arguments of `mixed_epochs` if the data set is a mixture. Default to none: a single
            data set.

    Returns:
        `[steps, batch_size]` int64, indices of images.
    """
    groups = shape_groups(sizes)
    frequency = np.bincount(groups)[groups]  # size of the group of each image
    joined = join_rare_groups(groups, batch_size)
    waiting = {group: np.empty(0, "int64") for group in np.unique(joined)}
    batches, num_batches, epoch = [], 0, 0

    def draw(images, random):
        return images[
            random.permutation(len(images)) if repeats is None else _repeated(repeats[images], random)
        ]

    mixed = mixed_epochs(sources, shares, seed=seed, draw=draw) if shares and sources is not None else None
    while num_batches < steps:
        random = np.random.default_rng([seed, epoch])
        shuffled = next(mixed) if mixed else draw(np.arange(len(sizes)), random)
        # Images with a rare shape stay together, so that only a few batches need large padding.
        shuffled = shuffled[np.argsort(frequency[shuffled], kind="stable")]
        full = []
        for group, remaining in waiting.items():
            queue = _append(remaining, shuffled[joined[shuffled] == group], batch_size)
            end = len(queue) // batch_size * batch_size
            full.append(queue[:end].reshape(-1, batch_size))
            waiting[group] = queue[end:]
        batches.append(random.permutation(np.concatenate(full)))
        num_batches += len(batches[-1])
        epoch += 1
    return np.concatenate(batches)[:steps]


def _append(remaining, epoch, batch_size):
    """Appends an epoch to the remaining images of the last one; the first batch has no image twice."""
    if not len(remaining) or len(epoch) < batch_size:
        return np.concatenate([remaining, epoch])
    first = np.flatnonzero(~np.isin(epoch, remaining))[: batch_size - len(remaining)]
    return np.concatenate([remaining, epoch[first], np.delete(epoch, first)])


def _repeated(repeats, random):
    """Returns the images of an epoch in random order, with the copies of each image at equal distances."""
    counts = np.floor(repeats + random.random(len(repeats))).astype(int)
    images = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)  # index of the copy
    positions = (number + random.random(len(counts))[images]) / counts[images]
    return images[np.argsort(positions)]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The batches of a run, which only depend on the data set and the config.

    Args:
        order: `[steps, B]` int64, the image at each position of each batch.
        groups: `[N]` int64, the group of each image from `shape_groups`.
        seed: Seed of the run.
        chances: `[N]` float64, relative probability that an image is drawn to join another one. Defaults to
            None: all are equal.
    """

    order: np.ndarray
    groups: np.ndarray
    seed: int
    chances: np.ndarray | None = None

    def candidates(self, step: int, position: int) -> Iterator[int]:
        """Yields the image at a position of a batch, and then possible replacements.

        Replacements are images with the shapes of the batch. Those that are already in the batch come last.
        Each position starts with different images, so that two positions rarely get the same replacement.
        """
        batch = self.order[step]
        yield batch[position]
        fitting = np.flatnonzero(np.isin(self.groups, self.groups[batch]))
        shuffled = np.random.default_rng([self.seed, step, REPLACEMENTS]).permutation(fitting)
        others = shuffled[~np.isin(shuffled, batch)]
        first_choice = others[position :: len(batch)]
        yield from first_choice
        yield from others[~np.isin(others, first_choice)]
        yield from shuffled[np.isin(shuffled, batch)]

    def other_candidates(self, step: int, position: int, number: int) -> Iterator[int]:
        """Yields random images without end: the first joins the image at a position, the others replace it.

        Args:
            step: Index of the step.
            position: Index of the image in the batch.
            number: Index of the joined image, because transforms may need several.
        """
        random = np.random.default_rng([self.seed, step, OTHERS, position, number])
        ends = None if self.chances is None else np.cumsum(self.chances)
        while True:
            if ends is None:
                yield int(random.integers(len(self.groups)))
            else:
                yield int(np.searchsorted(ends, random.random() * ends[-1], side="right"))


def batch_plan(dataset: Dataset, config: Config, steps: int | None = None) -> BatchPlan:
    """Returns the `BatchPlan` of a run.

    Args:
        dataset: `Dataset`.
        config: `Config`.
        steps: Number of batches. Defaults to that of the schedule.
    """
    train, sizes, threshold = config.train, dataset.sizes, config.data.repeat_threshold
    repeats = repeat_factors(dataset, threshold) if threshold else None
    sources = np.array([image.source for image in dataset.images], int) if dataset.shares else None
    steps = steps or train.scaled_steps
    order = training_order(
        sizes,
        train.batch_size,
        steps,
        seed=train.seed,
        repeats=repeats,
        sources=sources,
        shares=dataset.shares,
    )
    chances = None
    if sources is not None:
        chances = np.divide(dataset.shares, np.bincount(sources, minlength=len(dataset.shares)))[sources]
    return BatchPlan(order=order, groups=shape_groups(sizes), seed=train.seed, chances=chances)
