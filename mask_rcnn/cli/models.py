"""`mask-rcnn models`: lists, downloads, verifies and converts published weights."""

import argparse
import json

from mask_rcnn.cli.options import Subparsers, add_command, local_path
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.model_zoo.entries.entry import Entry
from mask_rcnn.system.terminal import print_line


def add_parser(commands: Subparsers) -> None:
    """Adds the command `models` with its actions."""
    summary = "list, download, verify and convert published weights"
    group = commands.add_parser("models", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(
        actions, "list", run_list, summary="list published weights with their published AP in percent"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of a table (default: a table)"
    )
    for name, run, summary in (
        ("show", run_show, "print all facts about published weights, and which of them are unconfirmed"),
        ("fetch", run_fetch, "download the file if it is not in the cache, and check its hash"),
        ("verify", run_verify, "check the hash of the file in the cache"),
    ):
        parser = add_command(actions, name, run, summary=summary)
        parser.add_argument("name", metavar="NAME", help="a name of `mask-rcnn models list`")
    parser = add_command(
        actions, "convert", run_convert, summary="convert another system's checkpoint to a weights file"
    )
    parser.add_argument(
        "file", metavar="FILE", type=local_path, help="checkpoint: .pth, .pt, .pkl, .npz, .safetensors or .h5"
    )
    parser.add_argument(
        "--as",
        metavar="NAME",
        dest="name",
        required=True,
        help="model of the checkpoint, a name of `models list`",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=local_path, required=True, help="weights file to write, *.weights.h5"
    )


def run_list(args: argparse.Namespace) -> None:
    """Prints all published weights as a table or as JSON."""
    from mask_rcnn.cli.model_tables import entry_facts, print_list
    from mask_rcnn.model_zoo.registry import ENTRIES

    if args.json:
        print_line(json.dumps([entry_facts(entry) for entry in ENTRIES.values()], indent=2))
    else:
        print_list(ENTRIES.values())


def run_show(args: argparse.Namespace) -> None:
    """Prints all facts about published weights."""
    from mask_rcnn.cli.model_tables import print_entry
    from mask_rcnn.model_zoo.registry import find

    print_entry(find(args.name))


def run_fetch(args: argparse.Namespace) -> None:
    """Downloads published weights unless the cache has them, and verifies their hash."""
    from mask_rcnn.model_zoo import cache
    from mask_rcnn.model_zoo.registry import find

    entry = find(args.name)
    path = cache.fetch(entry)
    print_line(f"{entry.name}: {path} ({_verdict(entry, cache.verify(entry, path))})")


def run_verify(args: argparse.Namespace) -> None:
    """Verifies the hash of published weights in the cache."""
    from mask_rcnn.model_zoo import cache
    from mask_rcnn.model_zoo.registry import find

    entry = find(args.name)
    path = cache.path_of(entry)
    if not path.is_file():
        raise FileNotFoundError(
            f"The file must be in the cache. Received: {path}, which does not exist. "
            f"Download it: `mask-rcnn models fetch {entry.name}`."
        )
    print_line(f"{entry.name}: {path} ({_verdict(entry, cache.verify(entry, path))})")


def run_convert(args: argparse.Namespace) -> None:
    """Converts a checkpoint of another system to a weights file."""
    from mask_rcnn.model_zoo.pretrained import convert_file, detector

    entry = detector(args.name)
    import_tensorflow()
    convert_file(args.file, entry, args.out)
    print_line(f"{args.file} as {entry.name}: {args.out}")


def _verdict(entry: Entry, digest: str) -> str:
    if not entry.algorithm:
        return f"sha256 {digest}; the source publishes no hash to compare it with"
    return f"{entry.algorithm} {digest}, as published: {entry.hash_text}"
