"""The results of the checks: facts by section, and findings with advice."""

from dataclasses import dataclass, field
from typing import Any

ERROR, SLOW, NOTE = "error", "slow", "note"  # severities


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of a check.

    Args:
        severity: ERROR: something that the package needs is missing or broken. SLOW: it works, but slowly.
            NOTE: everything else.
        message: Sentence that says what was found.
        advice: Sentence that says what to do, or "". Defaults to "".
    """

    severity: str
    message: str
    advice: str = ""


@dataclass
class Report:
    """Facts and findings, which the checks add.

    Args:
        sections: `{section: {name: value}}` with values that JSON can represent. A name that ends in `_bytes`
            has a number of bytes. Defaults to empty.
        findings: List of `Finding`. Defaults to empty.

    Attributes:
        is_broken: Whether there is a finding of severity ERROR.
    """

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def facts(self, section: str, **values: Any) -> None:
        """Adds facts to a section, by name."""
        self.sections.setdefault(section, {}).update(values)

    def error(self, message: str, advice: str = "") -> None:
        """Adds a finding of severity ERROR; see `Finding`."""
        self.findings.append(Finding(severity=ERROR, message=message, advice=advice))

    def slow(self, message: str, advice: str = "") -> None:
        """Adds a finding of severity SLOW; see `Finding`."""
        self.findings.append(Finding(severity=SLOW, message=message, advice=advice))

    def note(self, message: str, advice: str = "") -> None:
        """Adds a finding of severity NOTE; see `Finding`."""
        self.findings.append(Finding(severity=NOTE, message=message, advice=advice))

    def of(self, severity: str) -> list[Finding]:
        """Returns the list of the findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def is_broken(self) -> bool:
        """Whether there is a finding of severity ERROR."""
        return bool(self.of(ERROR))

    def as_dict(self) -> dict[str, Any]:
        """Returns a dict for JSON: `ok`, a bool, `sections`, and `findings`, a list of dicts."""
        findings = [vars(finding) for finding in self.findings]
        return {"ok": not self.is_broken, "sections": self.sections, "findings": findings}
