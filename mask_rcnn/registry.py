"""A registry: names for parts of a model that a config selects and a user can add."""

import difflib


class Registry:
    """Maps the names of a config to the functions that build a part.

    A name that ends in "/" stands for all names that begin with it, such as "keras.applications/".

    Args:
        field: Field of the config that selects an entry, such as "backbone.name".
    """

    def __init__(self, field):
        self.field = field
        self._builders = {}

    def register(self, name):
        """Returns a decorator that registers a function under `name`.

        The same function may be registered again, as a notebook does when a cell runs twice.

        Raises:
            ValueError: Another function has this name.
        """

        def add(builder):
            known = self._builders.get(name)
            if known and _identity(known) != _identity(builder):
                raise ValueError(
                    f"Every value of `{self.field}` is registered once. "
                    f"Received: {name!r}, which {'.'.join(_identity(known))} has. Choose another name."
                )
            self._builders[name] = builder
            return builder

        return add

    def find(self, name):
        """Returns the function registered under `name`, or under its prefix up to the first "/".

        Raises:
            ValueError: There is none; the message lists the names.
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
            + "Import the file that registers a part of your own first (`--import FILE`)."
        )

    def names(self):
        """Returns all names in the order of their registration; prefixes as "prefix/NAME"."""
        return [f"{name}NAME" if name.endswith("/") else name for name in self._builders]

    def summaries(self):
        """Returns `{name: first line of the function's docstring}`."""
        lines = ((each.__doc__ or "").strip().partition("\n")[0] for each in self._builders.values())
        return dict(zip(self.names(), lines, strict=True))


def _identity(builder):
    return builder.__module__, builder.__qualname__
