"""Reading of YAML configs: plain mappings, lists and scalars, of limited size and depth."""

import collections
from typing import Any

import yaml

MAX_CHARACTERS = 200_000  # a complete config has 3000
MAX_DEPTH = 16


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys. YAML forbids them, but PyYAML accepts them."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if not all(isinstance(key, str | int | float | bool | None) for key in keys):
            raise yaml.YAMLError("a key must be the name of a field")
        for key, count in collections.Counter(keys).items():
            if count > 1:
                raise yaml.YAMLError(f"the key {str(key)[:80]!r} occurs {count} times")
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Returns the content of a YAML text as dicts, lists and scalars.

    Raises:
        ValueError: If it is not valid YAML, is too long or too deep, or has an alias, a tag or a duplicate
        key.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"A config must have at most {MAX_CHARACTERS} characters. Received: {len(text)}. Shorten it."
        )
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise ValueError(
            f"A config must be valid YAML. Received: {message[:300]}. Correct the text."
        ) from error


def _check_events(text):
    """Raises an error for syntax with which a short text could create a huge object."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.YAMLError("aliases (&name, *name) are not supported, write the values out")
        if getattr(event, "tag", None):
            raise yaml.YAMLError(f"tags ({event.tag[:80]}) are not supported")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"more than {MAX_DEPTH} levels")
