"""`--tile`: cuts large images into tiles, for detection and for training."""

from mask_rcnn.prediction.tiles import OVERLAP, Tiling


def add_tiles(parser, purpose):
    """Adds `--tile` and `--tile-overlap`; `tiling_of` reads them.

    Args:
        parser: Parser of the command.
        purpose: Help text of `--tile`.
    """
    parser.add_argument("--tile", metavar="PIXELS", type=int, help=f"{purpose} (default: none)")
    parser.add_argument(
        "--tile-overlap",
        metavar="SHARE",
        type=float,
        help=f"share of the side that neighboring tiles have in common at least (default: {OVERLAP})",
    )


def tiling_of(args):
    """Returns the `Tiling` of `--tile`, or None without it."""
    if args.tile is None:
        if args.tile_overlap is not None:
            raise ValueError("--tile-overlap needs --tile. Received: no --tile. Add --tile 1024.")
        return None
    return Tiling(size=args.tile, overlap=OVERLAP if args.tile_overlap is None else args.tile_overlap)
