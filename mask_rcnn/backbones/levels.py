"""Which maps of a backbone the detector takes."""


def pyramid_strides(available, wanted, has_fpn):
    """Returns the strides of the maps that are taken from the backbone.

    Args:
        available: Strides of the maps of the backbone, finest first.
        wanted: `anchors.strides`. The FPN takes neighboring maps of the backbone; each further level has
            twice the stride of the one before and is subsampled from it. Without an FPN it is the stride of
            the last map.
        has_fpn: Whether there is a feature pyramid.

    Returns:
        The strides, a part of `available`.

    Raises:
        ValueError: `wanted` does not follow from `available`; the message proposes other values.
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
        f"`anchors.strides` must follow from the backbone, whose maps have strides {list(available)}: "
        "neighboring ones and then doubled ones with an FPN, the last one without. "
        f"Received: anchors.strides={list(wanted)}. Set `anchors.strides={text}`{sizes}."
    )
