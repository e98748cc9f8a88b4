"""Config sections of registered heads: `heads: {NAME: {...}}`."""

import dataclasses
import difflib
import typing
from typing import Any, NoReturn

from mask_rcnn.config.ranges import CELLS, field_types, has_type, short

PLAIN = (int, float, bool, str)  # allowed types of fields and of tuple items
BUILT_IN = ("box", "mask", "keypoint")  # these heads have their own fields in `Config`
SECTIONS: dict[str, type] = {}  # {name of a head: its config dataclass}


class HeadSections(dict[str, Any]):
    """Immutable dict of the config sections of heads, `{name: dataclass instance}`."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(
            "A config cannot be changed. Received: a change of `heads`. "
            "Create a new config with `dataclasses.replace(config, heads={...})`."
        )

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = _refuse
    setdefault = update = _refuse  # pyright: ignore[reportAssignmentType] (the methods of dict are overloaded)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return HeadSections, (dict(self),)


def add_head_config(name: str, section_class: type) -> None:
    """Registers the config section `heads.NAME`.

    Args:
        name: Name of the head, a Python identifier.
        section_class: Frozen dataclass. All fields need a default value, and a type of `PLAIN` or a tuple of
            these. One field must be `pool_size`.

    Raises:
        ValueError: If the name or the dataclass does not meet these conditions.
    """
    # pyright does not know `__dataclass_params__`, which all dataclasses have.
    is_frozen = dataclasses.is_dataclass(section_class) and (
        section_class.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
    )
    types = field_types(section_class) if is_frozen else {}
    fields = dataclasses.fields(section_class) if is_frozen else ()
    invalid = [field.name for field in fields if not _has_default(field)]
    invalid += [name for name, (field_type, _) in types.items() if not _is_plain(field_type)]
    if not name.isidentifier() or name in BUILT_IN or invalid or "pool_size" not in types:
        raise ValueError(
            f"The name of a head must be a Python identifier other than {', '.join(BUILT_IN)}. Its config "
            "must be a frozen dataclass with a field `pool_size`. Each field needs a default, and must be an "
            "int, float, bool, str or a tuple of these. "
            f"Received: {name!r}, {section_class.__name__} with the fields "
            f"{', '.join(types) or 'none'}. Change {', '.join(invalid) or 'the name or the dataclass'}."
        )
    SECTIONS[name] = section_class


def head_config(name: object) -> type:
    """Returns the dataclass of the section `heads.NAME`.

    Raises:
        ValueError: If the head is not registered.
    """
    if not isinstance(name, str) or name not in SECTIONS:
        close = difflib.get_close_matches(str(name), SECTIONS, n=1)
        raise ValueError(
            f"`heads` must contain registered heads only: {', '.join(SECTIONS) or 'there are none'}. "
            f"Received: heads.{short(name)}. "
            + (f"Did you mean {close[0]!r}? " if close else "")
            + "First import the file that registers your own head (`--import FILE`)."
        )
    return SECTIONS[name]


def head_sections(heads: object) -> HeadSections:
    """Returns `HeadSections` of a dict.

    Args:
        heads: Dict `{name: instance of the head's config dataclass}`.

    Raises:
        ValueError: If a name is not registered, a section is not an instance of its dataclass, or a field has
            another type than its annotation.
    """
    if not isinstance(heads, dict):
        raise ValueError(
            f"`heads` must be a dict from names of heads to their configs. Received: {short(heads)}. "
            "Use `{}` for no heads."
        )
    for name, section in heads.items():
        section_class = head_config(name)
        if not isinstance(section, section_class):
            raise ValueError(
                f"`heads.{name}` must be a {section_class.__name__}. "
                f"Received: {short(section)}. Pass an instance of it."
            )
        for field, (field_type, is_optional) in field_types(section_class).items():
            value = getattr(section, field)
            is_valid = has_type(value, field_type) if value is not None else is_optional
            if not is_valid or (field == "pool_size" and (value is None or value not in CELLS)):
                limits = f" {CELLS}" if field == "pool_size" else ""
                type_name = getattr(field_type, "__name__", field_type)
                raise ValueError(
                    f"`heads.{name}.{field}` must be of type {type_name}{limits}. "
                    f"Received: {short(value)}. Correct it in the config."
                )
    return HeadSections(heads)


def _has_default(field: dataclasses.Field) -> bool:
    return (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)


def _is_plain(field_type: Any) -> bool:
    items = typing.get_args(field_type) if typing.get_origin(field_type) is tuple else (field_type,)
    return all(item in (*PLAIN, ...) for item in items)
