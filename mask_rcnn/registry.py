"""Registry of model parts: a config selects them by name, and users can add their own."""

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

Builder = TypeVar("Builder", bound=Callable[..., Any])


class Registry:
    """Maps names to the functions that build a model part.

    A registered name that ends in "/" is a prefix: it matches all names that begin with it. An example is
    "keras.applications/".

    Args:
        field: Config field that selects an entry, such as "backbone.name".
    """

    def __init__(self, field: str) -> None:
        self.field = field
        self._builders: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Returns a decorator that registers a function under `name`.

        A function may be registered again. This happens when a notebook cell runs twice.

        Raises:
            ValueError: If another function is registered under this name.
        """

        def add(builder: Builder) -> Builder:
            known = self._builders.get(name)
            if known and _identity(known) != _identity(builder):
                raise ValueError(
                    f"Every value of `{self.field}` can be registered only once. "
                    f"Received: {name!r}, registered for {'.'.join(_identity(known))}. Choose another name."
                )
            self._builders[name] = builder
            return builder

        return add

    def find(self, name: str) -> Callable[..., Any]:
        """Returns the function registered under `name`, or under its prefix up to the first "/".

        Raises:
            ValueError: If there is none. The message lists the registered names.
        """
        prefix = f"{name.partition('/')[0]}/"
        if name in self._builders:
            return self._builders[name]
        if prefix in self._builders and len(name) > len(prefix):
            return self._builders[prefix]
        close = difflib.get_close_matches(name, self._builders, n=1)
        raise ValueError(
            f"`{self.field}` must be a registered name: {', '.join(self.names())}. "
            f"Received: {self.field}={name!r}. "
            + (f"Did you mean {close[0]!r}? " if close else "")
            + "If it is your own part, import the file that registers it first (`--import FILE`)."
        )

    def names(self) -> list[str]:
        """Returns the list of names in the order of registration. A prefix is listed as "prefix/NAME"."""
        return [f"{name}NAME" if name.endswith("/") else name for name in self._builders]

    def summaries(self) -> dict[str, str]:
        """Returns `{name: first line of the function's docstring}`."""
        lines = ((builder.__doc__ or "").strip().partition("\n")[0] for builder in self._builders.values())
        return dict(zip(self.names(), lines, strict=True))


def _identity(builder: Callable[..., Any]) -> tuple[str, str]:
    return builder.__module__, builder.__qualname__
