"""Selection of the backbone maps that the detector uses."""

from collections.abc import Sequence


def pyramid_strides(available: tuple[int, ...], requested: Sequence[int], has_fpn: bool) -> tuple[int, ...]:
    """Returns the strides of the backbone maps that the detector uses.

    Args:
        available: Strides of all maps of the backbone, finest first.
        requested: `anchors.strides`. With an FPN: strides of neighboring backbone maps, followed by strides
            that double (levels subsampled from the one before). Without an FPN: the stride of the last map.
        has_fpn: Whether the config has a feature pyramid.

    Returns:
        Tuple of strides, a part of `available`.

    Raises:
        ValueError: If `requested` does not match `available`. The message proposes other values.
    """
    if not has_fpn:
        _check(tuple(requested) == available[-1:], available, requested, available[-1:])
        return available[-1:]
    powers = all(stride & (stride - 1) == 0 for stride in available)
    proposal = (*(known := tuple(s for s in available if s >= 4)), 2 * known[-1])
    start = available.index(requested[0]) if requested[0] in available else len(available)
    used = []
    for stride, requested_stride in zip(available[start:], requested, strict=False):
        if stride != requested_stride:
            break
        used.append(stride)
    subsampled = tuple(requested[len(used) :])
    doubled = tuple(used[-1] * 2**i for i in range(1, len(subsampled) + 1)) if used else None
    _check(powers and bool(used) and subsampled == doubled, available, requested, proposal)
    return tuple(used)


def _check(condition, available, requested, proposal):
    if condition:
        return
    text = ", ".join(map(str, proposal))
    sizes = f" and `anchors.sizes={', '.join(str(8 * s) for s in proposal)}`" if len(proposal) > 1 else ""
    raise ValueError(
        f"`anchors.strides` must match the maps of the backbone, which have strides {list(available)}. "
        "With an FPN: neighboring strides, then each twice the one before. Without: the last stride. "
        f"Received: anchors.strides={list(requested)}. Set `anchors.strides={text}`{sizes}."
    )
