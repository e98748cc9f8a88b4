"""Tests of downloads from broken, slow or hostile servers: one error, in bounded time, and no files left."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from mask_rcnn.model_zoo import cache, download
from mask_rcnn.model_zoo.entries.entry import Entry

CONTENT = b"weights" * 1000
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MASK_RCNN_OFFLINE", raising=False)
    return tmp_path / "home"


@contextlib.contextmanager
def serving(answer):
    """Yields the URL of a server and the list of its connections, each of which is passed to `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection):
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/model-0123.pth", connections
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def entry_of(url, sha256=""):
    facts = {"description": "", "file_format": "pth", "license": "", "source": "", "published": ""}
    return Entry(name="source/model", url=url, sha256=sha256, **facts)


def send(*parts):
    return lambda connection: connection.sendall(b"".join(parts))


def files_in(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def drip(part):
    def answer(connection):
        connection.sendall(HEAD)
        for _ in range(600):
            connection.sendall(part)
            time.sleep(0.05)

    return answer


def flood(connection):
    connection.sendall(HEAD + b"\r\n")
    for _ in range(1000):
        connection.sendall(bytes(1 << 16))


BROKEN = {
    "nothing": (send(), "closed connection without response"),
    "no HTTP": (send(b"hello\r\n\r\n"), "hello"),
    "bad status": (send(b"HTTP/1.1 abc\r\n\r\n"), "abc"),
    "server error": (send(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "HTTP Error 500: Oops"),
    "no content": (send(b"HTTP/1.1 204 No Content\r\n\r\n"), "status 204"),
    "empty": (send(HEAD, b"Content-Length: 0\r\n\r\n"), "ended after 0"),
    "too short": (send(HEAD, b"Content-Length: 9000\r\n\r\n", CONTENT), "ended after 7000 of 9000 bytes"),
    "negative length": (send(HEAD, b"Content-Length: -5\r\n\r\n", CONTENT), "Content-Length '-5'"),
    "length in words": (send(HEAD, b"Content-Length: many\r\n\r\n", CONTENT), "Content-Length 'many'"),
    "huge length": (
        send(HEAD, b"Content-Length: 99999999999\r\n\r\n", CONTENT),
        "declares 99999999999 bytes",
    ),
    "bad chunk": (send(HEAD, b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "IncompleteRead|invalid literal"),
    "cut chunk": (send(HEAD, b"Transfer-Encoding: chunked\r\n\r\n100\r\nabc"), "IncompleteRead"),
    "long header": (send(HEAD, b"X: ", b"a" * 100_000, b"\r\n\r\n"), "header line"),
    "many headers": (send(HEAD, b"X: a\r\n" * 200, b"\r\n"), "headers"),
    "endless body": (flood, "more than 1000000 bytes"),
    "dripping body": (drip(b"\r\na"), "only .* bytes in"),
    "dripping headers": (drip(b"X: a\r\n"), "did not answer within|headers"),
    "silent": (lambda connection: time.sleep(30), "timed out"),
    "loop": (send(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"), "infinite loop"),
    "local file": (
        send(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"),
        "from http to file|not allowed",
    ),
    "ftp": (send(b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/a\r\n\r\n"), "from http to ftp"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_server_is_one_error_and_leaves_nothing(home, monkeypatch, name):
    monkeypatch.setattr(download, "TIMEOUT", 1)
    monkeypatch.setattr(download, "ANSWER_SECONDS", 2)
    monkeypatch.setattr(download, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(download, "MAX_BYTES", 1_000_000)
    answer, message = BROKEN[name]
    start = time.monotonic()
    with serving(answer) as (url, _), pytest.raises(OSError, match=message) as caught:
        cache.fetch(entry_of(url))
    assert "source/model could not be downloaded" in str(caught.value)
    assert time.monotonic() - start < 8
    assert files_in(home) == []


def test_escape_sequences_of_a_server_are_not_printed():
    with (
        serving(send(b"HTTP/1.1 500 \x1b[2J\x1b]0;owned\x07\r\n\r\n")) as (url, _),
        pytest.raises(OSError) as caught,
    ):
        cache.fetch(entry_of(url))
    assert "\x1b" not in str(caught.value) and r"\x1b[2J" in str(caught.value)


def test_a_redirect_from_https_to_http_is_refused():
    handler = download._NoDowngrade()
    request = download.urllib.request.Request("https://example.org/a")
    response = contextlib.closing(open(os.devnull))  # noqa: SIM115
    with response as file:
        with pytest.raises(OSError, match="from https to http"):
            handler.redirect_request(request, file, 302, "Found", {}, "http://example.org/a")
        new = handler.redirect_request(request, file, 302, "Found", {}, "https://example.com/a")
    assert new.full_url == "https://example.com/a"


def test_ten_threads_fetch_a_file_once():
    body = send(HEAD, b"Content-Length: 7000\r\n\r\n", CONTENT)

    def slow(connection):
        time.sleep(0.3)
        body(connection)

    with serving(slow) as (url, connections):
        entry, paths = entry_of(url, hashlib.sha256(CONTENT).hexdigest()), []
        threads = [threading.Thread(target=lambda: paths.append(cache.fetch(entry))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(connections) == 1
    assert [path.read_bytes() for path in paths] == [CONTENT] * 10


def test_a_killed_download_leaves_nothing_after_the_next_one(home):
    def half(connection):
        connection.sendall(HEAD + b"Content-Length: 7000\r\n\r\n" + CONTENT[:100])
        time.sleep(30)

    program = (
        "import sys; from mask_rcnn.model_zoo import cache\n"
        "from mask_rcnn.model_zoo.entries.entry import Entry\n"
        "facts = dict(description='', file_format='pth', license='', source='', published='', sha256='')\n"
        "cache.fetch(Entry(name='source/model', url=sys.argv[1], **facts))"
    )
    with (
        serving(half) as (url, _),
        subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.DEVNULL) as process,
    ):
        while not files_in(home) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert files_in(home) == ["model-0123.pth"]  # in the temporary folder of the killed process
    with serving(send(HEAD, b"Content-Length: 7000\r\n\r\n", CONTENT)) as (url, _):
        path = cache.fetch(entry_of(url))
    assert [each.name for each in path.parent.iterdir()] == ["model-0123.pth"]
    assert path.read_bytes() == CONTENT
