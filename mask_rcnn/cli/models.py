"""`mask-rcnn models`: lists, downloads, verifies and converts published weights."""

import json

from mask_rcnn.cli.options import add_command, local_path
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.system.terminal import print_line


def add_parser(commands):
    summary = "list, fetch, check and convert weights that others have published"
    group = commands.add_parser("models", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(actions, "list", run_list, "one line for each, with its published AP in percent")
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of a table (default: a table)"
    )
    for name, run, summary in (
        ("show", run_show, "all that is known of one, and what could not be confirmed"),
        ("fetch", run_fetch, "download the file if it is not in the cache, and check its hash"),
        ("verify", run_verify, "check the hash of the file in the cache"),
    ):
        parser = add_command(actions, name, run, summary)
        parser.add_argument("name", metavar="NAME", help="as in `models list`")
    parser = add_command(
        actions, "convert", run_convert, "make a weights file of another system's checkpoint"
    )
    parser.add_argument(
        "file", metavar="FILE", type=local_path, help=".pth, .pt, .pkl, .npz, .safetensors or .h5"
    )
    parser.add_argument(
        "--as", metavar="NAME", dest="name", required=True, help="which model of `models list` it is one of"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=local_path, required=True, help="weights file to write, *.weights.h5"
    )


def run_list(args):
    from mask_rcnn.cli.model_tables import entry_facts, print_list
    from mask_rcnn.model_zoo.registry import ENTRIES

    if args.json:
        print_line(json.dumps([entry_facts(entry) for entry in ENTRIES.values()], indent=2))
    else:
        print_list(ENTRIES.values())


def run_show(args):
    from mask_rcnn.cli.model_tables import print_entry
    from mask_rcnn.model_zoo.registry import find

    print_entry(find(args.name))


def run_fetch(args):
    from mask_rcnn.model_zoo import cache
    from mask_rcnn.model_zoo.registry import find

    entry = find(args.name)
    path = cache.fetch(entry)
    print_line(f"{entry.name}: {path} ({_verdict(entry, cache.verify(entry, path))})")


def run_verify(args):
    from mask_rcnn.model_zoo import cache
    from mask_rcnn.model_zoo.registry import find

    entry = find(args.name)
    path = cache.path_of(entry)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is nothing to verify: {path} is not there. "
            f"Fetch it: `mask-rcnn models fetch {entry.name}`."
        )
    print_line(f"{entry.name}: {path} ({_verdict(entry, cache.verify(entry, path))})")


def run_convert(args):
    from mask_rcnn.model_zoo.pretrained import convert_file, detector

    entry = detector(args.name)
    import_tensorflow()
    convert_file(args.file, entry, args.out)
    print_line(f"{args.file} as {entry.name}: {args.out}")


def _verdict(entry, digest):
    if not entry.algorithm:
        return f"sha256 {digest}; the source publishes none to compare it with"
    return f"{entry.algorithm} {digest}, as published: {entry.hash_text}"
