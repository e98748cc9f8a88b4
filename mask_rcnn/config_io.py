"""Reads and writes configs as YAML, and changes fields by their dotted names, such as `mask_head.convs`.

The dataclasses of the package `config` are the schema. Each value is checked against the type of its field.
The error about an unknown name suggests similar names.
"""

import dataclasses
import difflib
import io
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from mask_rcnn.config import Config
from mask_rcnn.config.heads import SECTIONS, HeadSections, head_config
from mask_rcnn.config.other_names import fields_for_alias
from mask_rcnn.config.ranges import short, unwrap
from mask_rcnn.config.yaml_text import MAX_CHARACTERS, load_yaml
from mask_rcnn.system.paths import RemotePath, as_path

MAX_INT = 2**53  # float64 represents all integers up to here exactly
NULLS = ("null", "None", "~")  # spellings of null in YAML and Python


def to_yaml(config: Config) -> str:
    """Returns `config` as YAML text with all fields. `from_yaml` reads it back."""
    return yaml.dump(dataclasses.asdict(config), Dumper=_Dumper, sort_keys=False, width=110)


def from_yaml(source: str | Path | RemotePath) -> Config:
    """Reads a `Config` from YAML. Omitted fields have their defaults.

    Args:
        source: YAML text, or the path of a file. A path is a `Path`, or a string of one line that ends in
            .yaml or .yml.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the YAML is invalid, or a field is unknown or has an invalid value.
    """
    if isinstance(source, str) and ("\n" in source or not source.endswith((".yaml", ".yml"))):
        return from_text(source)
    path = as_path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no config file {str(source)!r}. Create one from the output of `mask-rcnn config show`."
        )
    try:
        with io.TextIOWrapper(path.open("rb"), encoding="utf-8") as file:
            return from_text(file.read(MAX_CHARACTERS + 1))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{source}: {error}") from error


def override(config: Config, path: str, value: object) -> Config:
    """Returns a copy of `config` with one field changed, see `override_all`.

    >>> override(Config(), "train.learning_rate", "0.01").train.learning_rate
    0.01
    """
    return override_all(config, {path: value})


def override_all(config: Config, changes: Mapping[str, object]) -> Config:
    """Returns a copy of `config` with several fields changed.

    All fields are changed before the config is checked, so dependent fields can be changed together.

    Args:
        config: `Config`.
        changes: Dict from the dotted name of a field to its new value: YAML or Python text, or the value
            itself. The value of a section is a mapping. It may be null if the section is optional, such as
            `mask_head`.

    Raises:
        ValueError: If a field is unknown or a value is invalid.
    """
    values = dataclasses.asdict(config)
    values["heads"] = dict(values["heads"])
    for path, value in changes.items():
        _assign(values, path, value)
    return _build(Config, values)


class _Dumper(yaml.SafeDumper):
    """YAML dumper that writes a tuple as [1, 2, 3], on one line."""


_Dumper.add_representer(HeadSections, yaml.SafeDumper.represent_dict)
_Dumper.add_representer(
    tuple, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def from_text(text: str) -> Config:
    """Returns the `Config` of YAML text. Unlike in `from_yaml`, the text cannot be the path of a file."""
    values = load_yaml(text)
    return _build(Config, {} if values is None else values)


def _assign(values: dict[str, Any], path: str, value: object) -> None:
    """Sets `value` at the dotted `path` of nested dicts, in-place. Text is parsed by the field's type."""
    *sections, name = path.split(".")
    section_class = Config
    for depth, section in enumerate(sections, start=1):
        section_class, _ = unwrap(_field_type(section_class, section, path))
        if not _is_section(section_class):
            raise ValueError(_unknown(path))
        if values.get(section) is None:
            parent = ".".join(sections[:depth])
            raise ValueError(
                f"`{path}` is a field of `{parent}`, which is null. "
                f"Received: {path}={short(value)}. Set it to its defaults first: `{parent}={{}}`."
            )
        values = values[section]
    field_type = _field_type(section_class, name, path)
    values[name] = _parse(field_type, value) if isinstance(value, str) else value


def _parse(field_type: Any, text: str) -> Any:
    """Parses the text of a command-line value: strings need no quotes, tuples need no brackets."""
    value_type, is_optional = unwrap(field_type)
    if is_optional and text in NULLS:
        return None
    if value_type is str:
        return text
    if typing.get_origin(value_type) is tuple:
        text = f"[{text.strip('()[] ')}]"
    return load_yaml(text)


def _build(section_class: Any, values: object, path: str = "") -> Any:
    """Builds a config section and checks the types of its values.

    Args:
        section_class: Class of the section.
        values: Dict of field values, as parsed from YAML.
        path: Dotted name of the section, for messages. Defaults to "", the whole config.
    """
    if not isinstance(values, dict):
        name = f"`{path}`" if path else "A config"
        raise ValueError(f"{name} must be a mapping from fields to values. Received: {short(values)}.")
    fields = {}
    for name, value in values.items():
        full_name = f"{path}.{name}" if path else str(name)
        fields[name] = _convert(_field_type(section_class, name, full_name), value, full_name)
    return section_class(**fields)


def _convert(field_type: Any, value: Any, path: str) -> Any:
    """Returns a value from YAML in the type of its field. Raises a ValueError if it has another type."""
    value_type, is_optional = unwrap(field_type)
    if value is None and is_optional:
        return None
    if _is_section(value_type):
        return _build(value_type, value, path)
    if typing.get_origin(value_type) is tuple and isinstance(value, list | tuple):
        item_types = typing.get_args(value_type)
        item_types = [item_types[0]] * len(value) if item_types[-1] is ... else item_types
        if len(item_types) == len(value):
            pairs = zip(item_types, value, strict=True)
            return tuple(_convert(item_type, item, path) for item_type, item in pairs)
    if value_type is float and _is_number_text(value):
        return float(value)
    if value_type is float and type(value) is int and abs(value) < MAX_INT:
        return float(value)
    if type(value) is value_type:
        return value
    raise ValueError(f"`{path}` must be {_describe(field_type)}. Received: {path}={short(value)}.")


def _is_number_text(value: object) -> TypeGuard[str]:
    """Returns whether `value` is a string such as "1e-4". YAML 1.1 parses only 1.0e-4 as a number."""
    return isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value) is not None


def _is_section(value_type: Any) -> bool:
    return dataclasses.is_dataclass(value_type) or value_type is HeadSections


def _field_types(section_class: Any) -> Mapping[str, Any]:
    """Returns `{name: type}` of the fields of a section."""
    return SECTIONS if section_class is HeadSections else typing.get_type_hints(section_class)


def _field_type(section_class: Any, name: object, path: str) -> Any:
    """Returns the type of a field. Raises a ValueError that shows the dotted name `path` if there is none."""
    if section_class is HeadSections:
        return head_config(name)
    hints = _field_types(section_class)
    if not isinstance(name, str) or name not in hints:
        raise ValueError(_unknown(path))
    return hints[name]


def _unknown(path: str) -> str:
    """Returns the message about a field that does not exist, with similar names."""
    path = path[:200]
    known = list(_paths(Config))
    same_name = [
        known_path for known_path in known if known_path.rpartition(".")[2] == path.rpartition(".")[2]
    ]
    close = same_name or fields_for_alias(path) or difflib.get_close_matches(path, known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else "`mask-rcnn config show` prints all of them."
    return f"A config has no field of this name. Received: {path!r}. {hint}"


def _paths(section_class: Any, prefix: str = "") -> Iterator[str]:
    """Yields the dotted names of all sections and fields of `section_class`."""
    for name, field_type in _field_types(section_class).items():
        yield prefix + name
        section, _ = unwrap(field_type)
        if _is_section(section):
            yield from _paths(section, f"{prefix}{name}.")


def _describe(field_type: Any) -> str:
    """Describes a type in words. `tuple[int, ...] | None` becomes "a list of int, or null"."""
    value_type, is_optional = unwrap(field_type)
    item_types = typing.get_args(value_type)
    if _is_section(value_type):
        text = "a mapping"
    elif not item_types:
        text = {int: "an int", float: "a number", bool: "true or false", str: "text"}[value_type]
    elif item_types[-1] is ...:
        text = f"a list of {item_types[0].__name__}"
    else:
        text = f"a list of {len(item_types)} {item_types[0].__name__}"
    return f"{text}, or null" if is_optional else text
