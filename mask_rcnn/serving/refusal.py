"""A request that is not answered with a result."""


class Refusal(Exception):
    """A request cannot be answered. The message goes to the client.

    Args:
        status: HTTP status.
        message: What was expected and received, and what to do.
        retry_after: Seconds after which the client may try again. Defaults to None: it need not try.
        close: Whether to close the connection, of which not all was read. Defaults to False.
    """

    def __init__(self, status, message, retry_after=None, close=False):
        super().__init__(message)
        self.status = status
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if close:
            self.headers["Connection"] = "close"
