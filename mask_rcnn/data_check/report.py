"""What a check found, as plain records that text, json and HTML are written from."""

from dataclasses import dataclass

from mask_rcnn.data.records import ImageRecord

# Training stops; training is hurt; good to know.
SEVERITIES = ("error", "warning", "note")
MAX_EXAMPLES = 10  # of a finding, worst first


@dataclass(frozen=True, kw_only=True)
class Example:
    """One place where something was found.

    Args:
        text: What was found there; may be empty.
        image: Name of the image file, or "".
        annotation: Id of the annotation, or None.
        field: Field of the json, such as "bbox", or "".
        drawn: `(ImageRecord, ids)` of what a picture shows: the annotations with these ids, or all if `ids`
            is None.
    """

    text: str = ""
    image: str = ""
    annotation: int | None = None
    field: str = ""
    drawn: tuple[tuple[ImageRecord, tuple[int, ...] | None], ...] = ()

    def sentence(self):
        """Returns the example as one line."""
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

    def as_dict(self):
        return {
            "image": self.image,
            "annotation": self.annotation,
            "field": self.field,
            "text": self.text,
        }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of thing that was found.

    Args:
        kind: Name of the kind, for programs.
        severity: One of `SEVERITIES`.
        title: What was found, a sentence without a period.
        count: How many there are.
        advice: What to do.
        examples: The worst first, at most `MAX_EXAMPLES`.
        where: Name of the set, such as "train".
    """

    kind: str
    severity: str
    title: str
    count: int
    advice: str
    examples: tuple[Example, ...] = ()
    where: str = ""

    def as_dict(self):
        fields = ("kind", "severity", "where", "title", "count", "advice")
        examples = [example.as_dict() for example in self.examples]
        return {**{name: getattr(self, name) for name in fields}, "examples": examples}


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check.

    Args:
        config: Name of the config that the data is checked for.
        sets: `{name: counts}` of each data set, see `count_dataset`.
        findings: Errors first.
        anchors: What `anchor_coverage` returns, or None without objects.
        not_checked: Sentences about what was left out of the check.
    """

    config: str
    sets: dict
    findings: tuple[Finding, ...]
    anchors: dict | None = None
    not_checked: tuple[str, ...] = ()

    def count(self, severity):
        """Returns how many findings have a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_dict(self):
        """Returns the report as json can hold it."""
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


def in_order(findings):
    """Returns findings as a tuple, errors first."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
