"""Downloads with limits: maximum size, minimum rate, timeouts, and no redirect from https to http."""

import contextlib
import hashlib
import http.client
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from mask_rcnn.system.terminal import printable

CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # maximum time without a byte, seconds
ANSWER_SECONDS = 120  # maximum time until the headers are complete, including redirects
MAX_BYTES = 4 << 30  # maximum size; the largest published model has 0.8 GB
MIN_RATE = 10_000  # minimum average rate, bytes per second
GRACE_SECONDS = 30  # time before the minimum rate is enforced


def download(url: str, path: Path, *, algorithm: str, description: str) -> str:
    """Downloads a URL to a file and returns the hash of its content.

    Args:
        url: http or https URL.
        path: The file to write, for example that of `atomic_write`.
        algorithm: Name of the hash, see `hashlib.new`.
        description: Text of the progress bar.

    Returns:
        Hexadecimal hash.

    Raises:
        OSError: For every problem with the connection, the server or the disk. Its text is printable.
    """
    hasher = hashlib.new(algorithm)
    try:
        with _open(url) as response, open(path, "wb") as file:
            if response.status != http.client.OK:
                raise OSError(f"the server answered with status {response.status}")
            total = _declared_size(response)
            with _progress(description, total) as advance:
                for chunk in _chunks(response):
                    hasher.update(chunk)
                    file.write(chunk)
                    advance(len(chunk))
            if not file.tell() or (total and file.tell() != total):
                raise OSError(f"the connection ended after {file.tell()} of {total or 'unknown'} bytes")
    except (OSError, http.client.HTTPException, ValueError) as error:  # urllib's own errors are OSErrors
        text = " ".join(str(error).split()) or type(error).__name__
        raise OSError(printable(text, allowed="")[:300]) from error
    return hasher.hexdigest()


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yields the body in chunks. Raises an OSError if it is too large or too slow."""
    start, received = time.monotonic(), 0
    while chunk := response.read1(CHUNK):
        received += len(chunk)
        if received > MAX_BYTES:
            raise OSError(f"the server sent more than {MAX_BYTES} bytes")
        seconds = time.monotonic() - start
        if seconds > GRACE_SECONDS and received < MIN_RATE * seconds:
            raise OSError(f"the server sent only {received} bytes in {seconds:.0f} seconds")
        yield chunk


def _declared_size(response: http.client.HTTPResponse) -> int:
    """Returns the Content-Length, or 0 if there is none."""
    text = response.headers.get("Content-Length", "0").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise OSError(f"the server sent Content-Length {text[:40]!r}")
    if int(text) > MAX_BYTES:
        raise OSError(f"the server declares {text} bytes, at most {MAX_BYTES} are allowed")
    return int(text)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to an unencrypted protocol."""

    def redirect_request(self, request, response, code, message, headers, new_url):
        old, new = request.full_url.partition(":")[0].lower(), new_url.partition(":")[0].lower()
        if new != "https" and (old == "https" or new != "http"):
            response.close()
            raise OSError(f"the server redirects from {old} to {new}, which is not allowed")
        return super().redirect_request(request, response, code, message, headers, new_url)


def _open(url: str) -> http.client.HTTPResponse:
    """Returns the response for a URL. Its headers must be complete within ANSWER_SECONDS."""
    result = []
    thread = threading.Thread(target=_request, args=(url, result), daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not result:
        raise OSError(f"the server did not answer within {ANSWER_SECONDS} seconds")
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _request(url: str, result: list) -> None:
    """Appends the response for a URL, or the exception, to `result`."""
    request = urllib.request.Request(url, headers={"User-Agent": "mask-rcnn"})
    try:
        result.append(urllib.request.build_opener(_NoDowngrade).open(request, timeout=TIMEOUT))
    except Exception as error:  # raised again in the waiting thread
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # an HTTPError is also an open response
        result.append(error)


@contextlib.contextmanager
def _progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function of the number of received bytes. On a terminal it updates a progress bar."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total or None)
        yield lambda size: bar.advance(task, size)
