"""Matching of the classes of a model with those of a data set."""

from collections.abc import Sequence

from mask_rcnn.structures import Category


def match_categories(
    model: Sequence[Category], dataset: Sequence[Category], shared_classes: bool = False
) -> tuple[list[Category | None], list[str]]:
    """Returns the category of the data set for each class of a model, matched by name. Ids may differ.

    Args:
        model: `Category` records of the model.
        dataset: `Category` records of the data set.
        shared_classes: Whether to accept classes that only one of them has. Defaults to False.

    Returns:
        Tuple of
        categories: List with one `Category` of the data set per class of the model, None if there is none.
        notes: List of sentences about the classes that are left out.

    Raises:
        ValueError: If the classes differ and `shared_classes` is False, or if no class is shared.
    """
    by_name = {category.name: category for category in dataset}
    names = [category.name for category in model]
    only_model = [name for name in names if name not in by_name]
    only_dataset = [name for name in by_name if name not in names]
    if (only_model or only_dataset) and (not shared_classes or len(only_model) == len(names)):
        advice = (
            "No class is shared: use annotations with the same class names."
            if len(only_model) == len(names)
            else "Add --shared-classes to score only the shared classes."
        )
        raise ValueError(
            f"The annotations must have the classes that the model was trained on: {_names(names)}. "
            f"Received: {_names(only_model)} only in the model, {_names(only_dataset)} only in the "
            f"annotations. {advice}"
        )
    unmatched = (("the model has", only_model), ("the annotations have", only_dataset))
    notes = [
        f"classes that only {owner} are left out: {_names(names)}" for owner, names in unmatched if names
    ]
    return [by_name.get(category.name) for category in model], notes


def _names(names):
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more if names else "none"
