"""Reads and writes configs as YAML, and changes fields by their dotted names, such as `mask_head.convs`.

The dataclasses of the package `config` are the schema. Each value is checked against the type of its field.
The error about an unknown name suggests similar names.
"""

import dataclasses
import difflib
import io
import re
import typing

import yaml

from mask_rcnn.config import Config
from mask_rcnn.config.heads import SECTIONS, HeadSections, head_config
from mask_rcnn.config.other_names import fields_for_alias
from mask_rcnn.config.ranges import short, unwrap
from mask_rcnn.config.yaml_text import MAX_CHARACTERS, load_yaml
from mask_rcnn.system.paths import as_path

MAX_INT = 2**53  # float64 represents all integers up to here exactly
NULLS = ("null", "None", "~")  # spellings of null in YAML and Python


def to_yaml(config):
    """Returns `config` as YAML text with all fields. `from_yaml` reads it back."""
    return yaml.dump(dataclasses.asdict(config), Dumper=_Dumper, sort_keys=False, width=110)


def from_yaml(source):
    """Reads a `Config` from YAML. Omitted fields have their defaults.

    Args:
        source: YAML text, or the path of a file. A path is a `Path`, or a string of one line that ends in
            .yaml or .yml.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the YAML is invalid, or a field is unknown or has an invalid value.
    """
    is_path = not isinstance(source, str) or (source.endswith((".yaml", ".yml")) and "\n" not in source)
    if not is_path:
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


def override(config, path, value):
    """Returns a copy of `config` with one field changed, see `override_all`.

    >>> override(Config(), "train.learning_rate", "0.01").train.learning_rate
    0.01
    """
    return override_all(config, {path: value})


def override_all(config, changes):
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


def from_text(text):
    """Returns the `Config` of YAML text. Unlike in `from_yaml`, the text cannot be the path of a file."""
    values = load_yaml(text)
    return _build(Config, {} if values is None else values)


def _assign(values, path, value):
    """Sets `value` at the dotted `path` of nested dicts, in-place. Text is parsed by the field's type."""
    *sections, name = path.split(".")
    kind = Config
    for depth, section in enumerate(sections, start=1):
        kind, _ = unwrap(_field_type(kind, section, path))
        if not _is_section(kind):
            raise ValueError(_unknown(path))
        if values.get(section) is None:
            parent = ".".join(sections[:depth])
            raise ValueError(
                f"`{path}` is a field of `{parent}`, which is null. "
                f"Received: {path}={short(value)}. Set it to its defaults first: `{parent}={{}}`."
            )
        values = values[section]
    field_type = _field_type(kind, name, path)
    values[name] = _parse(field_type, value) if isinstance(value, str) else value


def _parse(field_type, text):
    """Parses the text of a command-line value: strings need no quotes, tuples need no brackets."""
    kind, optional = unwrap(field_type)
    if optional and text in NULLS:
        return None
    if kind is str:
        return text
    if typing.get_origin(kind) is tuple:
        text = f"[{text.strip('()[] ')}]"
    return load_yaml(text)


def _build(kind, values, path=""):
    """Builds a config section and checks the types of its values.

    Args:
        kind: Class of the section.
        values: Dict of field values, as parsed from YAML.
        path: Dotted name of the section, for messages. Defaults to "", the whole config.
    """
    if not isinstance(values, dict):
        name = f"`{path}`" if path else "A config"
        raise ValueError(f"{name} must be a mapping from fields to values. Received: {short(values)}.")
    fields = {}
    for name, value in values.items():
        full_name = f"{path}.{name}" if path else str(name)
        fields[name] = _convert(_field_type(kind, name, full_name), value, full_name)
    return kind(**fields)


def _convert(field_type, value, path):
    kind, optional = unwrap(field_type)
    if value is None and optional:
        return None
    if _is_section(kind):
        return _build(kind, value, path)
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        items = typing.get_args(kind)
        items = [items[0]] * len(value) if items[-1] is ... else items
        if len(items) == len(value):
            return tuple(_convert(item, each, path) for item, each in zip(items, value, strict=True))
    if kind is float and _is_number_text(value):
        return float(value)
    if kind is float and type(value) is int and abs(value) < MAX_INT:
        return float(value)
    if type(value) is kind:
        return value
    raise ValueError(f"`{path}` must be {_describe(field_type)}. Received: {path}={short(value)}.")


def _is_number_text(value):
    """Returns whether `value` is a string such as "1e-4". YAML 1.1 parses only 1.0e-4 as a number."""
    return isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value) is not None


def _is_section(kind):
    return dataclasses.is_dataclass(kind) or kind is HeadSections


def _field_types(kind):
    """Returns `{name: type}` of the fields of a section."""
    return SECTIONS if kind is HeadSections else typing.get_type_hints(kind)


def _field_type(kind, name, path):
    if kind is HeadSections:
        return head_config(name)
    hints = _field_types(kind)
    if name not in hints:
        raise ValueError(_unknown(path))
    return hints[name]


def _unknown(path):
    path = str(path)[:200]
    known = list(_paths(Config))
    same_name = [each for each in known if each.rpartition(".")[2] == path.rpartition(".")[2]]
    close = same_name or fields_for_alias(path) or difflib.get_close_matches(path, known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else "`mask-rcnn config show` prints all of them."
    return f"A config has no field of this name. Received: {path!r}. {hint}"


def _paths(kind, prefix=""):
    """Yields the dotted names of all sections and fields of `kind`."""
    for name, field_type in _field_types(kind).items():
        yield prefix + name
        section, _ = unwrap(field_type)
        if _is_section(section):
            yield from _paths(section, f"{prefix}{name}.")


def _describe(field_type):
    """Describes a type in words. `tuple[int, ...] | None` becomes "a list of int, or null"."""
    kind, optional = unwrap(field_type)
    items = typing.get_args(kind)
    if _is_section(kind):
        words = "a mapping"
    elif not items:
        words = {int: "an int", float: "a number", bool: "true or false", str: "text"}[kind]
    elif items[-1] is ...:
        words = f"a list of {items[0].__name__}"
    else:
        words = f"a list of {len(items)} {items[0].__name__}"
    return f"{words}, or null" if optional else words
