"""`--tile`: cuts large images into tiles, for detection and for training."""

import argparse

from mask_rcnn.prediction.tiles import OVERLAP, Tiling


def add_tiles(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds `--tile` and `--tile-overlap`; `tiling_of` reads them.

    Args:
        parser: Parser of the command.
        purpose: Help text of `--tile`.
    """
    parser.add_argument("--tile", metavar="PIXELS", type=int, help=f"{purpose} (default: none)")
    parser.add_argument(
        "--tile-overlap",
        metavar="FRACTION",
        type=float,
        help=f"with --tile: minimum overlap of neighboring tiles, as a fraction of their side (default: "
        f"{OVERLAP})",
    )


def tiling_of(args: argparse.Namespace) -> Tiling | None:
    """Returns the `Tiling` of `--tile`, or None without it."""
    if args.tile is None:
        if args.tile_overlap is not None:
            raise ValueError("--tile-overlap needs --tile. Received: no --tile. Add --tile 1024.")
        return None
    return Tiling(size=args.tile, overlap=OVERLAP if args.tile_overlap is None else args.tile_overlap)
