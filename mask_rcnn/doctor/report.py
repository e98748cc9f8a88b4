"""What a check of the installation found: facts by section, and findings with advice."""

from dataclasses import dataclass, field

ERROR, SLOW, NOTE = "error", "slow", "note"  # severities


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, slow or worth knowing.

    Args:
        severity: ERROR: something that the package needs is missing or broken. SLOW: it works, but slowly.
            NOTE: all else.
        message: What was found, a sentence.
        advice: What to do, a sentence; "" if nothing can be done. Defaults to "".
    """

    severity: str
    message: str
    advice: str = ""


@dataclass
class Report:
    """Facts and findings; the checks add theirs.

    Args:
        sections: `{section: {name: value}}`, values as JSON has them. A name that ends in `_bytes` is that of
            a number of bytes. Defaults to none.
        findings: List of `Finding`. Defaults to none.
    """

    sections: dict = field(default_factory=dict)
    findings: list = field(default_factory=list)

    def facts(self, section, **values):
        """Adds facts to a section."""
        self.sections.setdefault(section, {}).update(values)

    def error(self, message, advice=""):
        self.findings.append(Finding(severity=ERROR, message=message, advice=advice))

    def slow(self, message, advice=""):
        self.findings.append(Finding(severity=SLOW, message=message, advice=advice))

    def note(self, message, advice=""):
        self.findings.append(Finding(severity=NOTE, message=message, advice=advice))

    def of(self, severity):
        """Returns the list of the findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def is_broken(self):
        return bool(self.of(ERROR))

    def as_dict(self):
        """Returns what JSON can hold: `ok`, `sections` and `findings`."""
        findings = [vars(finding) for finding in self.findings]
        return {"ok": not self.is_broken, "sections": self.sections, "findings": findings}
