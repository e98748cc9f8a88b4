"""The exception for a request that the server refuses."""


class RequestError(Exception):
    """A request cannot be answered. The server sends the message to the client.

    Args:
        status: HTTP status.
        message: What was expected, what was received, and how to fix it.
        retry_after: Seconds after which the client may try again. Defaults to None: retrying does not help.
        close: Whether to close the connection because the request was not read completely. Defaults to False.

    Attributes:
        status: HTTP status.
        headers: Dict of HTTP headers of the reply.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None, close: bool = False):
        super().__init__(message)
        self.status = status
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if close:
            self.headers["Connection"] = "close"
