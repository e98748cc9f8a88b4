"""Data classes for the results of a check, which are written as text, json and HTML."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mask_rcnn.data.records import ImageRecord

# Function of (items, their number, a description) that yields the items and shows progress.
Track = Callable[[Sequence, int, str], Iterable]
# error: training stops. warning: training gets worse. note: information.
SEVERITIES = ("error", "warning", "note")
MAX_EXAMPLES = 10  # maximum examples of a finding, the worst first


@dataclass(frozen=True, kw_only=True)
class Example:
    """One place where a problem was found.

    Args:
        text: Details of the problem. Defaults to "".
        image: Name of the image file. Defaults to "".
        annotation: Id of the annotation. Defaults to None.
        field: Field of the json, such as "bbox". Defaults to "".
        drawn: Pairs `(ImageRecord, ids)` for the picture: annotations with these ids, or all if `ids` is
            None. Defaults to none.
    """

    text: str = ""
    image: str = ""
    annotation: int | None = None
    field: str = ""
    drawn: tuple[tuple[ImageRecord, tuple[int, ...] | None], ...] = ()

    def sentence(self) -> str:
        """Returns the example as one line of text."""
        place = ", ".join(
            part
            for part in (
                self.image,
                "" if self.annotation is None else f"annotation {self.annotation}",
                self.field,
            )
            if part
        )
        return ": ".join(part for part in (place, self.text) if part)

    def as_dict(self) -> dict[str, Any]:
        """Returns the example as a dict for JSON."""
        return {
            "image": self.image,
            "annotation": self.annotation,
            "field": self.field,
            "text": self.text,
        }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of problem that was found.

    Args:
        kind: Name of the kind, for programs.
        severity: One of `SEVERITIES`.
        title: Description of the problem, a sentence without a period.
        count: Number of occurrences.
        advice: How to fix it.
        examples: At most `MAX_EXAMPLES` examples, the worst first. Defaults to none.
        where: Name of the set, such as "train". Defaults to "".
    """

    kind: str
    severity: str
    title: str
    count: int
    advice: str
    examples: tuple[Example, ...] = ()
    where: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the finding as a dict for JSON."""
        fields = ("kind", "severity", "where", "title", "count", "advice")
        examples = [example.as_dict() for example in self.examples]
        return {**{name: getattr(self, name) for name in fields}, "examples": examples}


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check.

    Args:
        config: Name of the config.
        sets: `{name: counts}` of each data set, see `count_dataset`.
        findings: Tuple of `Finding`, errors first.
        anchors: Result of `anchor_coverage`. Defaults to None: no objects.
        not_checked: Sentences about checks that did not run. Defaults to none.
    """

    config: str
    sets: dict
    findings: tuple[Finding, ...]
    anchors: dict | None = None
    not_checked: tuple[str, ...] = ()

    def count(self, severity: str) -> int:
        """Returns the number of findings with a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON."""
        return {
            "config": self.config,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "notes": self.count("note"),
            "sets": self.sets,
            "findings": [finding.as_dict() for finding in self.findings],
            "anchors": self.anchors,
            "not_checked": list(self.not_checked),
        }


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Returns a tuple of the findings, sorted by severity, errors first."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
