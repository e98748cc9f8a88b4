"""Runs independent checks one after the other, so that all that fail are reported at once."""


class Checks:
    """Checks of a run before its first step.

    Args:
        report: Function of the name of a check and a text of what it found, called after each check.
            Defaults to no report.
    """

    def __init__(self, report=lambda name, found: None):
        self.report = report
        self._failed = []  # (name, error)

    def run(self, name, check, describe=str):
        """Returns what a check returns, or None if it fails.

        Args:
            name: Name of the check.
            check: Function without arguments that raises a ValueError or OSError if the check fails.
            describe: Function from what `check` returns to a text. Defaults to `str`.
        """
        try:
            found = check()
        except (ValueError, OSError) as error:
            self._failed.append((name, error))
            self.report(name, "failed")
            return None
        self.report(name, describe(found))
        return found

    def finish(self):
        """Raises the error of the check that failed, or a ValueError with the errors of all of them."""
        if len(self._failed) == 1:
            raise self._failed[0][1]
        if self._failed:
            listing = "\n".join(f"{name}: {error}" for name, error in self._failed)
            raise ValueError(f"{len(self._failed)} checks failed.\n{listing}")
