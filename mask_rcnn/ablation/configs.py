"""Makes the `Config` of each row of a table from a base config and the changes of the row."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from mask_rcnn import config_io
from mask_rcnn.ablation.changes import PRESENT
from mask_rcnn.ablation.rows import Table
from mask_rcnn.config import Config


def with_changes(base: Config, changes: Mapping[str, Any]) -> Config:
    """Returns a copy of a `Config` with changes.

    Args:
        base: `Config`.
        changes: `{dotted name: value}`, see `Row`.
    """
    values = {name: value(base) if callable(value) else value for name, value in changes.items()}
    overrides = {
        name: value for name, value in values.items() if value != PRESENT or getattr(base, name) is None
    }
    return config_io.override_all(base, overrides)


def row_configs(table: Table, base: Config) -> dict[str, Config]:
    """Returns `{name of a row: Config}` for all rows that can be trained, in their order.

    Args:
        table: `Table`.
        base: `Config` whose fields the rows change.

    Raises:
        ValueError: A row does not fit the base. The message names the row.
    """
    configs = {}
    for row in table.rows:
        if row.missing:
            continue
        if row.trained_as:
            configs[row.name] = configs[row.trained_as]
            continue
        try:
            configs[row.name] = with_changes(base, row.changes)
        except ValueError as error:
            raise ValueError(
                f"Row {row.name!r} of table {table.key} does not fit the base: {error}"
            ) from error
    return configs


def without_effect(table: Table, base: Config, names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the fields whose value in the base has no effect, because rows override it.

    Args:
        table, base: As in `row_configs`.
        names: Dotted names of the fields that the user has set.

    Returns:
        `{name of a field: list of the names of rows that override it}`.
    """
    overridden = {}
    for name in names:
        rows = [row.name for row in table.rows if not row.missing and _overrides(row.changes, base, name)]
        if rows:
            overridden[name] = rows
    return overridden


def _overrides(changes: Mapping[str, Any], base: Config, name: str) -> bool:
    """Returns whether changes give a field another value than the base, or remove its section."""
    section = name.partition(".")[0]
    if changes.get(section, PRESENT) is None:
        return True
    return name in changes and not callable(changes[name]) and changes[name] != _value(base, name)


def _value(config: Any, name: str) -> Any:
    """Returns the value of a field by its dotted name. None if its section is None."""
    for part in name.split("."):
        config = getattr(config, part, None)
    return config


def with_seed(config: Config, seed: int) -> Config:
    """Returns a copy of a `Config` with another `train.seed`."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))
