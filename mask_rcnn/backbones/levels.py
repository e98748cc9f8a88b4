"""Selection of the backbone maps that the detector uses."""


def pyramid_strides(available, wanted, has_fpn):
    """Returns the strides of the backbone maps that the detector uses.

    Args:
        available: Strides of all maps of the backbone, finest first.
        wanted: `anchors.strides`. With an FPN: strides of neighboring backbone maps, followed by strides that
            double (levels subsampled from the one before). Without an FPN: the stride of the last map only.
        has_fpn: Whether the config has a feature pyramid.

    Returns:
        Tuple of strides, a part of `available`.

    Raises:
        ValueError: If `wanted` does not match `available`. The message proposes other values.
    """
    if not has_fpn:
        _check(tuple(wanted) == available[-1:], available, wanted, available[-1:])
        return available[-1:]
    powers = all(stride & (stride - 1) == 0 for stride in available)
    proposal = (*(known := tuple(s for s in available if s >= 4)), 2 * known[-1])
    start = available.index(wanted[0]) if wanted[0] in available else len(available)
    taken = []
    for theirs, ours in zip(available[start:], wanted, strict=False):
        if theirs != ours:
            break
        taken.append(theirs)
    rest = wanted[len(taken) :]
    doubled = tuple(taken[-1] * 2**i for i in range(1, len(rest) + 1)) if taken else None
    _check(powers and bool(taken) and tuple(rest) == doubled, available, wanted, proposal)
    return tuple(taken)


def _check(condition, available, wanted, proposal):
    if condition:
        return
    text = ", ".join(map(str, proposal))
    sizes = f" and `anchors.sizes={', '.join(str(8 * s) for s in proposal)}`" if len(proposal) > 1 else ""
    raise ValueError(
        f"`anchors.strides` must match the maps of the backbone, which have strides {list(available)}. "
        "With an FPN: neighboring strides, then each twice the one before. Without: the last stride. "
        f"Received: anchors.strides={list(wanted)}. Set `anchors.strides={text}`{sizes}."
    )
