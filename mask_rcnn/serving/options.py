"""Limits of a server."""

from dataclasses import dataclass, fields

TOKEN_VARIABLE = "MASK_RCNN_TOKEN"  # environment variable with the token


@dataclass(frozen=True, kw_only=True)
class Options:
    """Limits of a server, and its token.

    Args:
        token: Text that clients must send as `Authorization: Bearer TOKEN`. Defaults to None: no token.
        max_body: Largest body of a request, bytes. Defaults to 32 MiB.
        max_pixels: Largest height times width of an image file. Its header is checked before it is decoded.
            Defaults to 50 million.
        queue: Largest number of accepted images of a model without a reply. Further requests get status 429.
            Defaults to 128.
        max_batch: Largest number of images in a batch. Defaults to None, a fast number for this machine.
        batch_wait: Milliseconds that an image may wait for others of its batch. Defaults to 2.
        timeout: Seconds from the end of a request to its reply. Later ones get status 504. Defaults to 60.
        body_timeout: Seconds in which the head of a request must arrive, and again for its body. Defaults to
            30.
        threads: Number of threads per model that decode images, and the same number that write replies.
            Defaults to 2.
        keep_versions: Number of versions of each model that are served, the newest ones. Defaults to 1.
        poll: Seconds between two checks for new versions. 0 checks only at the start. Defaults to 5.
    """

    token: str | None = None
    max_body: int = 32 << 20
    max_pixels: int = 50_000_000
    queue: int = 128
    max_batch: int | None = None
    batch_wait: float = 2.0
    timeout: float = 60.0
    body_timeout: float = 30.0
    threads: int = 2
    keep_versions: int = 1
    poll: float = 5.0

    def __post_init__(self):
        lowest = {"batch_wait": 0, "poll": 0, "timeout": 0.001, "body_timeout": 0.001}
        for name in (field.name for field in fields(self) if field.name != "token"):
            value = getattr(self, name)
            if value is not None and not value >= lowest.get(name, 1):  # also false for NaN
                raise ValueError(
                    f"--{name.replace('_', '-')} must be {lowest.get(name, 1)} or more. "
                    f"Received: {value}. Leave it out for the default."
                )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token):
            raise ValueError(
                "A token must be printable ASCII text, one line. Received: another or an empty one. "
                "Make one: `openssl rand -hex 32`."
            )
