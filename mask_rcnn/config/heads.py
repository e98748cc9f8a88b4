"""Config sections of registered heads: `heads: {NAME: {...}}`."""

import dataclasses
import difflib
import typing

from mask_rcnn.config.ranges import CELLS, field_types, has_type, short

PLAIN = (int, float, bool, str)  # allowed types of fields and of tuple items
BUILT_IN = ("box", "mask", "keypoint")  # these heads have their own fields in `Config`
SECTIONS = {}  # {name of a head: its config dataclass}


class HeadSections(dict):
    """Immutable dict of the config sections of heads, `{name: dataclass instance}`."""

    def _refuse(self, *args, **kwargs):
        raise TypeError(
            "A config cannot be changed. Received: a change of `heads`. "
            "Create a new config with `dataclasses.replace(config, heads={...})`."
        )

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self):
        return hash(frozenset(self.items()))

    def __reduce__(self):
        return HeadSections, (dict(self),)


def add_head_config(name, section_class):
    """Registers the config section `heads.NAME`.

    Args:
        name: Name of the head, a Python identifier.
        section_class: Frozen dataclass. All fields need a default value, and a type of `PLAIN` or a tuple of
            these. One field must be `pool_size`.

    Raises:
        ValueError: If the name or the dataclass does not meet these conditions.
    """
    is_frozen = dataclasses.is_dataclass(section_class) and section_class.__dataclass_params__.frozen
    kinds = field_types(section_class) if is_frozen else {}
    fields = dataclasses.fields(section_class) if is_frozen else ()
    wrong = [field.name for field in fields if not _has_default(field)]
    wrong += [field for field, (kind, _) in kinds.items() if not _is_plain(kind)]
    if not name.isidentifier() or name in BUILT_IN or wrong or "pool_size" not in kinds:
        raise ValueError(
            f"The name of a head must be a Python identifier other than {', '.join(BUILT_IN)}. Its config "
            "must be a frozen dataclass with a field `pool_size`. Each field needs a default, and must be an "
            "int, float, bool, str or a tuple of these. "
            f"Received: {name!r}, {section_class.__name__} with the fields "
            f"{', '.join(kinds) or 'none'}. Change {', '.join(wrong) or 'the name or the dataclass'}."
        )
    SECTIONS[name] = section_class


def head_config(name):
    """Returns the dataclass of the section `heads.NAME`.

    Raises:
        ValueError: If the head is not registered.
    """
    if name not in SECTIONS:
        close = difflib.get_close_matches(str(name), SECTIONS, n=1)
        raise ValueError(
            f"`heads` must contain registered heads only: {', '.join(SECTIONS) or 'there are none'}. "
            f"Received: heads.{short(name)}. "
            + (f"Did you mean {close[0]!r}? " if close else "")
            + "First import the file that registers your own head (`--import FILE`)."
        )
    return SECTIONS[name]


def head_sections(heads):
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
        for field, (kind, is_optional) in field_types(section_class).items():
            value = getattr(section, field)
            is_right = has_type(value, kind) if value is not None else is_optional
            if not is_right or (field == "pool_size" and value not in CELLS):
                limits = f" {CELLS}" if field == "pool_size" else ""
                raise ValueError(
                    f"`heads.{name}.{field}` must be of type {getattr(kind, '__name__', kind)}{limits}. "
                    f"Received: {short(value)}. Correct it in the config."
                )
    return HeadSections(heads)


def _has_default(field):
    return (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)


def _is_plain(kind):
    items = typing.get_args(kind) if typing.get_origin(kind) is tuple else (kind,)
    return all(item in (*PLAIN, ...) for item in items)
