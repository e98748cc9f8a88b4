"""Which image is where in which batch of a run."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.data.dataset_arrays import arrays_of, classes_of_images
from mask_rcnn.data.mixture import mixed_epochs

# Width / height at which the next group of images begins: 3:2, between 4:3 and square, square, and so on.
ASPECT_BOUNDS = (1 / 1.55, 1 / 1.2, 1.0, 1.2, 1.55)
REPLACEMENTS, OTHERS = 1, 2  # separate these random numbers from those of the examples
LANDSCAPE = 3  # first group of images that are not higher than wide


def shape_groups(sizes):
    """Returns the group of each image: images of a group need little padding in one batch.

    Args:
        sizes: `[N, 2]`, (height, width) of each image.

    Returns:
        `[N]` int64, 0 to 5, from tall to wide.
    """
    height, width = np.moveaxis(np.asarray(sizes), -1, 0)
    return np.digitize(width / height, ASPECT_BOUNDS)


def join_rare_groups(groups, batch_size):
    """Joins each group of fewer images than a batch with a neighbor.

    Tall images are joined with tall ones and wide with wide ones if there are any, else with the smaller of
    both neighbors.

    Args:
        groups: `[N]` int, of `shape_groups`.
        batch_size: images in a batch.

    Returns:
        `[N]` int, the groups that batches are made of. Each has at least `batch_size` images, unless the
        data set has fewer: then it is one group.
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


def repeat_factors(dataset, threshold):
    """Returns how often each image comes in an epoch, on average, so that rare classes are seen more often.

    A class in a share f of the images has the factor max(1, sqrt(threshold / f)), and an image the largest
    factor of its classes (Gupta et al. 2019, LVIS, appendix B).

    Args:
        dataset: a `Dataset`.
        threshold: share of the images below which a class is rare, 0 to 1.

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


def training_order(sizes, batch_size, steps, seed, repeats=None, sources=None, shares=()):
    """Returns the complete order of a run: which image is where in which batch.

    In each epoch, every image is queued once, in random order, or as often as `repeats` says; the copies of
    an image are spread over the epoch. A batch takes images of one group of `join_rare_groups`. Images that
    do not fill a batch come first in the next epoch. No batch has an image twice, unless the data set is
    smaller than a batch, or an image is repeated so often that its copies meet.

    Args:
        sizes: `[N, 2]`, (height, width) of each image.
        batch_size: images in a batch.
        steps: number of batches.
        seed: seed of the permutations.
        repeats: `[N]` of `repeat_factors`; the fraction is the probability of one more copy. Defaults to 1.
        sources, shares: Of a mixture, as in `mixed_epochs`. Default to a single data set.

    Returns:
        `[steps, batch_size]` int64, indices of images.
    """
    groups = shape_groups(sizes)
    frequency = np.bincount(groups)[groups]  # of the group of each image
    joined = join_rare_groups(groups, batch_size)
    waiting = {group: np.empty(0, "int64") for group in np.unique(joined)}
    batches, num_batches, epoch = [], 0, 0

    def draw(images, random):
        return images[
            random.permutation(len(images)) if repeats is None else _repeated(repeats[images], random)
        ]

    mixed = mixed_epochs(sources, shares, seed, draw) if shares else None
    while num_batches < steps:
        random = np.random.default_rng([seed, epoch])
        shuffled = next(mixed) if mixed else draw(np.arange(len(sizes)), random)
        # Images of a rare shape stay together: only a few batches have the padding that they need.
        shuffled = shuffled[np.argsort(frequency[shuffled], kind="stable")]
        full = []
        for group, left in waiting.items():
            queue = _append(left, shuffled[joined[shuffled] == group], batch_size)
            end = len(queue) // batch_size * batch_size
            full.append(queue[:end].reshape(-1, batch_size))
            waiting[group] = queue[end:]
        batches.append(random.permutation(np.concatenate(full)))
        num_batches += len(batches[-1])
        epoch += 1
    return np.concatenate(batches)[:steps]


def _append(left, epoch, batch_size):
    """Appends an epoch to what is left of the last one, so that the first batch has no image twice."""
    if not len(left) or len(epoch) < batch_size:
        return np.concatenate([left, epoch])
    first = np.flatnonzero(~np.isin(epoch, left))[: batch_size - len(left)]
    return np.concatenate([left, epoch[first], np.delete(epoch, first)])


def _repeated(repeats, random):
    """Returns the images of an epoch in random order, the copies of each at equal distances."""
    counts = np.floor(repeats + random.random(len(repeats))).astype(int)
    images = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)  # of the copy, from 0
    places = (number + random.random(len(counts))[images]) / counts[images]
    return images[np.argsort(places)]


@dataclass(frozen=True)
class BatchPlan:
    """The batches of a run: a function of the data set, the config and nothing else.

    Args:
        order: `[steps, B]` int64, the image at each place of each batch.
        groups: `[N]` int64, the shape of each image, of `shape_groups`.
        seed: seed of the run.
        chances: `[N]` float64, probability of each image to join another one. Defaults to equal ones.
    """

    order: np.ndarray
    groups: np.ndarray
    seed: int
    chances: np.ndarray | None = None

    def candidates(self, step, place):
        """Yields the image at a place of a batch, and then those that may replace it, one after the other.

        The replacements are images of the shapes of the batch, those that are in it already last. Each place
        begins with others, so that two places rarely get the same replacement.
        """
        batch = self.order[step]
        yield batch[place]
        fitting = np.flatnonzero(np.isin(self.groups, self.groups[batch]))
        shuffled = np.random.default_rng([self.seed, step, REPLACEMENTS]).permutation(fitting)
        others = shuffled[~np.isin(shuffled, batch)]
        own = others[place :: len(batch)]
        yield from own
        yield from others[~np.isin(others, own)]
        yield from shuffled[np.isin(shuffled, batch)]

    def other_candidates(self, step, place, number):
        """Yields, without end, random images of the data set: the first is what joins the image at a place.

        Args:
            step: number of the step.
            place: in the batch.
            number: of the other image, for transforms may need several.
        """
        random = np.random.default_rng([self.seed, step, OTHERS, place, number])
        ends = None if self.chances is None else np.cumsum(self.chances)
        while True:
            if ends is None:
                yield int(random.integers(len(self.groups)))
            else:
                yield int(np.searchsorted(ends, random.random() * ends[-1], side="right"))


def batch_plan(dataset, config, steps=None):
    """Returns the `BatchPlan` of a run.

    Args:
        dataset: a `Dataset`.
        config: a `Config`.
        steps: number of batches. Defaults to those of the schedule.
    """
    train, sizes, threshold = config.train, dataset.sizes, config.data.repeat_threshold
    repeats = repeat_factors(dataset, threshold) if threshold else None
    sources = np.array([image.source for image in dataset.images], int) if dataset.shares else None
    steps = steps or train.scaled_steps
    order = training_order(sizes, train.batch_size, steps, train.seed, repeats, sources, dataset.shares)
    chances = None
    if dataset.shares:
        chances = np.divide(dataset.shares, np.bincount(sources, minlength=len(dataset.shares)))[sources]
    return BatchPlan(order, shape_groups(sizes), train.seed, chances)
