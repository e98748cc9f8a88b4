"""Checks Python, the required packages, those of the extras, and conflicts between packages."""

import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata

from packaging.requirements import Requirement

from mask_rcnn.doctor.report import Report

DISTRIBUTION = "mask-rcnn"
EXTRA = re.compile(r'extra == "([^"]+)"')  # part of the marker of a requirement
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def check_packages(report: Report, environment: "Environment | None" = None) -> None:
    """Adds the versions of Python and of packages to the report, and missing, old or conflicting ones.

    Args:
        report: `Report`.
        environment: `Environment` of packages. Defaults to that of this process.
    """
    environment = environment or Environment()
    report.facts(
        "python",
        version=platform.python_version(),
        executable=sys.executable,
        platform=platform.platform(),
    )
    try:
        requirements = environment.requirements(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        report.error(
            f"The package {DISTRIBUTION} is not installed: Python finds only its source.",
            "Run `pip install .` in its folder.",
        )
        return
    report.facts("packages", **{DISTRIBUTION: environment.version(DISTRIBUTION)})
    for requirement in requirements:
        if requirement.marker is None:
            _check_needed(report, environment, requirement)
    report.facts("extras", **_extras(environment, requirements))
    _check_conflicts(report, environment)


class Environment:
    """The packages that this Python finds."""

    def version(self, name: str) -> str | None:
        """Returns the version of an installed package, or None."""
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    def requirements(self, name: str) -> list[Requirement]:
        """Returns the list of `Requirement`s of an installed package."""
        return [Requirement(text) for text in metadata.requires(name) or ()]


def _check_needed(report: Report, environment: Environment, requirement: Requirement) -> None:
    names = OPENCV if requirement.name in OPENCV else (requirement.name,)
    installed = {name: version for name in names if (version := environment.version(name))}
    report.facts("packages", **(installed or {requirement.name: None}))
    if not installed:
        report.error(f"The package {requirement.name} is missing.", f"Run `pip install '{requirement}'`.")
    for name, version in installed.items():
        if not requirement.specifier.contains(version, prereleases=True):
            report.error(
                f"{name} must be {requirement.specifier}. Received: {version}.",
                f"Run `pip install '{name}{requirement.specifier}'`.",
            )


def _extras(environment: Environment, requirements: Sequence[Requirement]) -> dict[str, str]:
    """Returns `{extra: text}`: the versions of its packages, or the command that installs the missing ones.

    Packages that an extra takes from another extra of mask-rcnn are listed there only.
    """
    texts = {}
    for extra in dict.fromkeys(_extra_of(each) for each in requirements if each.marker):
        needed = [each for each in requirements if each.name != DISTRIBUTION and _extra_of(each) == extra]
        packages = dict.fromkeys(name for each in needed for name in _names(environment, each))
        versions = {name: environment.version(name) for name in packages}
        if all(versions.values()):
            texts[extra] = ", ".join(f"{name} {version}" for name, version in versions.items())
        else:
            missing = ", ".join(name for name, version in versions.items() if not version)
            texts[extra] = f"without {missing}: pip install '{DISTRIBUTION}[{extra}]'"
    return texts


def _extra_of(requirement: Requirement) -> str | None:
    """Returns the extra that a requirement belongs to, or None."""
    match = EXTRA.search(str(requirement.marker))
    return match[1] if match else None


def _names(environment: Environment, requirement: Requirement) -> Iterator[str]:
    """Yields the name of the required package, and of those that its extras need on this machine."""
    yield requirement.name
    if requirement.extras and environment.version(requirement.name):
        for each in environment.requirements(requirement.name):
            extra = _extra_of(each)
            if not each.marker or extra is None or extra not in requirement.extras:
                continue
            if each.marker.evaluate({"extra": extra}):
                yield each.name


def _check_conflicts(report: Report, environment: Environment) -> None:
    variants = [name for name in OPENCV if environment.version(name)]
    if len(variants) > 1:
        report.note(
            f"{' and '.join(variants)} are installed together. They have files with the same names, so "
            "files of one may replace files of the other.",
            f"Run `pip uninstall {' '.join(variants)}`, and then `pip install {variants[-1]}`.",
        )
    if environment.version("tensorflow-addons"):
        report.note(
            "tensorflow-addons is installed. Its development ended in 2024, and it cannot be imported "
            "together with Keras 3. mask-rcnn does not use it.",
            "Run `pip uninstall tensorflow-addons`.",
        )
