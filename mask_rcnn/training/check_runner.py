"""Runs independent checks one after the other and reports all failures at once."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Checks:
    """Runs the checks before the first step of a run and collects their errors.

    Args:
        report: Function that is called after each check with its name and a text of its result. Defaults to
            no report.
    """

    def __init__(self, report: Callable[[str, str], object] = lambda name, result: None) -> None:
        self.report = report
        self._failed: list[tuple[str, Exception]] = []  # (name, error)

    def run(self, name: str, check: Callable[[], T], describe: Callable[[T], str] = str) -> T | None:
        """Returns the result of a check, or None if the check fails.

        Args:
            name: Name of the check.
            check: Function without arguments. It raises a ValueError or OSError if the check fails.
            describe: Function from the result of `check` to a text for the report. Defaults to `str`.
        """
        try:
            result = check()
        except (ValueError, OSError) as error:
            self._failed.append((name, error))
            self.report(name, "failed")
            return None
        self.report(name, describe(result))
        return result

    def finish(self) -> None:
        """Raises the error of the failed check, or one ValueError with all errors if several failed."""
        if len(self._failed) == 1:
            raise self._failed[0][1]
        if self._failed:
            listing = "\n".join(f"{name}: {error}" for name, error in self._failed)
            raise ValueError(f"{len(self._failed)} checks failed.\n{listing}")
