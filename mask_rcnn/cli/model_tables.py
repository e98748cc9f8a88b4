"""Tables of `mask-rcnn models`."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mask_rcnn.model_zoo import cache
from mask_rcnn.model_zoo.entries.entry import Entry
from mask_rcnn.system.files import cache_home
from mask_rcnn.system.terminal import printable

SCORES = ("box_ap", "mask_ap", "keypoint_ap", "top1")


def entry_facts(entry: Entry) -> dict[str, Any]:
    """Returns a dict for JSON with all fields of an `Entry`, and `cached`: whether it is in the cache."""
    return {**dataclasses.asdict(entry), "cached": cache.path_of(entry).is_file()}


def print_list(entries: Iterable[Entry]) -> None:
    """Prints the table of all entries: detectors first, then backbones."""
    console = Console()
    entries = list(entries)
    detectors = [entry for entry in entries if not entry.is_backbone]
    backbones = [entry for entry in entries if entry.is_backbone]
    console.print(_table(detectors, "Detectors", {"box": "box_ap", "mask": "mask_ap", "kpts": "keypoint_ap"}))
    console.print(_table(backbones, "Backbones", {"top-1": "top1"}))
    console.print(
        "AP on COCO and top-1 accuracy on ImageNet are percent, as published, not measured by us.\n"
        "hash: the published hash; md5:6 is the first six digits of an MD5; none: no hash is published.\n"
        "file: whether the file is in the cache. ?: `mask-rcnn models show NAME` says what is unconfirmed.\n"
        f"Cache: {printable(cache_home())}",
        style="dim",
        soft_wrap=True,
        markup=False,
    )


def print_entry(entry: Entry) -> None:
    """Prints all facts about an entry."""
    rows = {"name": entry.name, "description": entry.description}
    if not entry.is_backbone:
        rows.update(_facts_of_preset(entry))
    path = cache.path_of(entry)
    scores = ", ".join(f"{name} {_score(entry, name)}" for name in SCORES if getattr(entry, name) is not None)
    rows.update(
        {
            "published": f"{scores} ({entry.published})" if scores else "no scores",
            "url": entry.url,
            "hash": entry.hash_text,
            "format": entry.file_format,
            "license": entry.license,
            "source": entry.source,
            "cached": f"yes: {path}" if path.is_file() else f"no, its path will be {path}",
            "unconfirmed": "; ".join(entry.unconfirmed) or "nothing",
        }
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(name, escape(printable(text)))
    Console().print(table)


def _table(entries: Sequence[Entry], title: str, scores: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge, table.padding, table.pad_edge = False, (0, 1, 0, 0), False
    table.add_column("name", no_wrap=True)
    for column in scores:
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("hash", "file", "?"):
        table.add_column(column, no_wrap=True)
    for entry in entries:
        cells = (_score(entry, field) for field in scores.values())
        cached = "[green]yes[/]" if cache.path_of(entry).is_file() else "no"
        table.add_row(entry.name, *cells, _short_hash(entry), cached, "?" if entry.unconfirmed else "")
    return table


def _score(entry: Entry, name: str) -> str:
    score = getattr(entry, name)
    return "" if score is None else f"{score:.1f}"


def _short_hash(entry: Entry) -> str:
    if not entry.algorithm:
        return "[yellow]none[/]"
    return entry.algorithm + ("" if entry.is_hash_complete else f":{len(entry.digits)}")


def _facts_of_preset(entry: Entry) -> dict[str, str]:
    """Returns the rows for the input settings and the classes of a detector."""
    settings, names = entry.config.input, entry.class_names
    return {
        "input": (
            f"short side {settings.short_side}, long side at most {settings.long_side}, {settings.resize} "
            f"resize, sides padded to multiples of {settings.pad_multiple}; RGB, mean {settings.mean}, std "
            f"{settings.std}"
        ),
        "classes": f"{len(names)}: {', '.join(names[:8])}" + (", ..." if len(names) > 8 else ""),
    }
