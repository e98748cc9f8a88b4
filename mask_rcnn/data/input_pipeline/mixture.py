"""Weighted mixtures: joins data sets to one, each with a fixed share of the training images."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from absl import logging

from mask_rcnn.data.annotation_table import ImageAnnotations, concatenate, starts_of
from mask_rcnn.data.dataset_arrays import table_of_dataset
from mask_rcnn.data.records import Dataset

MIXED = 3  # part of seeds, so that the random numbers of a mixture differ from those of `batching.py`


def mix_datasets(datasets: Sequence[Dataset], shares: Sequence[float]) -> Dataset:
    """Joins data sets to one. Its classes are the classes of all sets, joined by name.

    A class that has no object in one of the sets is reported with counts. If the images of that set show such
    objects, they are trained as background.

    Args:
        datasets: List of `Dataset`s. Classes that only later sets have get new category ids.
        shares: Fraction of the training images from each set, in (0, 1]. The sum is 1.

    Returns:
        A `Dataset` with `shares`. Its images have `source`, the index of their set.

    Raises:
        ValueError: A set has no object, or a class has different keypoints in two sets.
    """
    categories = _joined_categories(datasets)
    numbers = {category.name: number for number, category in enumerate(categories, start=1)}
    tables, records, first_row = [], [], 0
    for source, dataset in enumerate(datasets):
        class_ids = np.array([0, *(numbers[category.name] for category in dataset.categories)])
        table = table_of_dataset(dataset)
        tables.append(replace(table, class_ids=class_ids[table.class_ids]))
        starts = first_row + starts_of([len(image.annotations) for image in dataset.images], with_end=True)
        records += zip(itertools.repeat(source), dataset.images, itertools.pairwise(starts.tolist()))
        first_row += len(table)
    _check_objects(datasets, tables)
    _report_missing(datasets, tables, categories)
    table = concatenate(tables)
    images = tuple(
        replace(
            image,
            annotations=ImageAnnotations(table, start, stop, size=(image.height, image.width)),
            source=source,
        )
        for source, image, (start, stop) in records
    )
    return Dataset(
        name=" + ".join(dataset.name for dataset in datasets),
        categories=categories,
        images=images,
        warnings=tuple(warning for dataset in datasets for warning in dataset.warnings),
        num_left_out=sum(dataset.num_left_out for dataset in datasets),
        shares=tuple(shares),
    )


def mixed_epochs(
    sources: np.ndarray,
    shares: Sequence[float],
    *,
    seed: int,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
) -> Iterator[np.ndarray]:
    """Yields the images of each epoch of a mixture in random order. An epoch has as many images as all sets.

    Each set is traversed again and again, each time in another order, and an epoch takes its share of images
    from it. So no image is repeated before all images of its set were used.

    Args:
        sources: `[N]` int, index of the set of each image.
        shares: Fraction of an epoch from each set. The sum is 1.
        seed: Seed of the run.
        draw: Function of `[M]` images of a set and a NumPy generator. It returns the images in random order,
            with repeats for rare classes.
    """
    members = [np.flatnonzero(sources == source) for source in range(len(shares))]
    for source, images in enumerate(members):
        if not len(images):
            raise ValueError(
                "Every set of a mixture needs images. "
                f"Received: set {source + 1} of {len(shares)} without any. Remove it from `data.mixture`."
            )
    queues, turns = [images[:0] for images in members], [0] * len(members)
    for epoch in itertools.count():
        parts = []
        for source, share in enumerate(shares):
            quota = round(share * len(sources) * (epoch + 1)) - round(share * len(sources) * epoch)
            while len(queues[source]) < quota:
                random = np.random.default_rng([seed, MIXED, source, turns[source]])
                queues[source] = np.concatenate([queues[source], draw(members[source], random)])
                turns[source] += 1
            parts.append(queues[source][:quota])
            queues[source] = queues[source][quota:]
        yield _interleaved(parts, np.random.default_rng([seed, MIXED, len(shares), epoch]))


def _interleaved(parts, random):
    """Joins arrays at random. The items of each array keep their order and have about equal distances."""
    positions = [(np.arange(len(part)) + random.random(len(part))) / max(len(part), 1) for part in parts]
    return np.concatenate(parts)[np.argsort(np.concatenate(positions))]


def _joined_categories(datasets):
    """Returns the categories of all sets with unique ids, those of the first set first."""
    joined, names = list(datasets[0].categories), {}
    for dataset in datasets:
        for category in dataset.categories:
            known = names.setdefault(category.name, (category, dataset.name))
            if known[0].keypoints != category.keypoints:
                raise ValueError(
                    "A class must have the same keypoints in all sets of a mixture. Received: "
                    f"{category.name!r} with {', '.join(known[0].keypoints) or 'none'} in {known[1]}, and "
                    f"{', '.join(category.keypoints) or 'none'} in {dataset.name}. Rename one of them."
                )
    known = {category.name for category in joined}
    for category, _ in names.values():
        if category.name not in known:
            joined.append(replace(category, id=max(each.id for each in joined) + 1))
    return tuple(joined)


def _check_objects(datasets, tables):
    for dataset, table in zip(datasets, tables, strict=True):
        if table.crowd.all():
            raise ValueError(
                "Every set of a mixture needs objects that are not crowd regions. "
                f"Received: {dataset.name} with {len(dataset)} images and no object. "
                "Look at it with `mask-rcnn data check`, or remove it from `data.mixture`."
            )


def _report_missing(datasets, tables, categories):
    """Logs which classes have no object in a set but have objects in other sets, with counts."""
    counts = np.array(
        [np.bincount(table.class_ids[~table.crowd], minlength=len(categories) + 1)[1:] for table in tables]
    )  # [sets, K]
    lines = []
    for dataset, dataset_counts in zip(datasets, counts, strict=True):
        missing = [
            f"{category.name} ({total} in the others)"
            for category, count, total in zip(categories, dataset_counts, counts.sum(axis=0), strict=True)
            if total and not count
        ]
        if missing:
            lines.append(f"{dataset.name}, {len(dataset)} images: {', '.join(missing)}")
    if lines:
        listing = "\n  ".join(lines)
        logging.warning(
            "Some classes have no object in some sets of the mixture. If images of these sets show such "
            "objects, they are trained as background: annotate them, or leave these images out.\n  %s",
            listing,
        )
