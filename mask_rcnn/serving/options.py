"""Limits of a server."""

from dataclasses import dataclass, fields

TOKEN_VARIABLE = "MASK_RCNN_TOKEN"  # of the environment


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much a server takes at once, and from whom.

    Args:
        token: What clients send as `Authorization: Bearer TOKEN`. None takes requests without one.
        max_body: Bytes of a request.
        max_pixels: Height times width of an image file, which its header tells before it is decoded.
        queue: Images that a model has accepted and not yet answered; more get status 429.
        max_batch: Images that a model sees at once. None is what is fast on this machine.
        batch_wait: Milliseconds that an image may wait for others of its batch.
        timeout: Seconds from the end of a request to its answer; later ones get status 504.
        body_timeout: Seconds in which the head of a request must arrive, and then its body.
        threads: Threads that decode images beside each model, and as many that write answers.
        keep_versions: Versions of each model that are served, the newest ones.
        poll: Seconds between two looks for new versions. 0 looks once.
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
            if value is not None and not value >= lowest.get(name, 1):  # NaN is not
                raise ValueError(
                    f"--{name.replace('_', '-')} must be {lowest.get(name, 1)} or more. "
                    f"Received: {value}. Leave it out for the default."
                )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token):
            raise ValueError(
                "A token must be printable ASCII text, one line. Received: another or an empty one. "
                "Make one: `openssl rand -hex 32`."
            )
