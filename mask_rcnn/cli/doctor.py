"""`mask-rcnn doctor`: reports what is installed, whether it works, and what is slow on this machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mask_rcnn import __version__
from mask_rcnn.cli.errors import USER_ERROR
from mask_rcnn.cli.options import Subparsers, add_command
from mask_rcnn.doctor.report import ERROR, NOTE, SLOW, Report
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.memory import GIGABYTE
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

TITLES = {ERROR: "broken", SLOW: "slow on this machine", NOTE: "worth knowing"}
EPILOG = (
    "The report lists versions, the processor, GPUs, memory, threads and folders. In separate processes, "
    "TensorFlow computes a convolution, and an image of each format is read. The exit code is 2 if something "
    "that the package needs is broken, else 0."
)
STDOUT = "-"


def add_parser(commands: Subparsers) -> None:
    """Adds the command `doctor` with its options."""
    parser = add_command(
        commands, "doctor", run, summary="check the installation and the machine: what is slow, and why"
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const=STDOUT,
        help="print the report as JSON; with FILE, print it as text, and write JSON to the file (default: "
        "only text)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the report. Returns 2 if something that the package needs is broken, else 0."""
    from mask_rcnn.doctor.examine import examine

    report = examine()
    content = json.dumps({"mask_rcnn": __version__, **report.as_dict()}, indent=1, ensure_ascii=False)
    if args.json == STDOUT:
        print_line(content)
    else:
        _print(report)
        if args.json:
            with atomic_write(as_path(args.json)) as path:
                path.write_text(content + "\n", encoding="utf-8")
    return USER_ERROR if report.is_broken else 0


def _print(report: Report) -> None:
    print_line(f"mask-rcnn {__version__}")
    for section, facts in report.sections.items():
        if not facts:
            continue
        print_line(f"\n{section}")
        names = [_display_name(name) for name in facts]
        width = max(map(len, names))
        for name, (key, value) in zip(names, facts.items(), strict=True):
            print_line(f"    {name:<{width}}  {_text(section, key, value)}")
    for severity, title in TITLES.items():
        if findings := report.of(severity):
            print_line(f"\n{title}")
            for finding in findings:
                print_line(f"  - {finding.message}")
                if finding.advice:
                    print_line(f"    {finding.advice}")
    print_line(
        "\nSomething that mask-rcnn needs is broken." if report.is_broken else "\nmask-rcnn can be used."
    )


def _display_name(name: str) -> str:
    """Returns the name of a fact as words. Names of environment variables stay unchanged."""
    return name.removesuffix("_bytes").replace("_", " ") if name.islower() else name


def _text(section: str, key: str, value: Any) -> str:
    """Returns a JSON value as text."""
    if value is None:
        return "missing" if section == "packages" else "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value / GIGABYTE:.1f} GB" if key.endswith("_bytes") else str(value)
