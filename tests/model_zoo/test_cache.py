"""Tests of the cache of published files, with a local server."""

import contextlib
import hashlib
import http.server
import threading

import pytest

from mask_rcnn.model_zoo import cache
from mask_rcnn.model_zoo.entries.entry import Entry
from mask_rcnn.system import files
from mask_rcnn.system.files import cache_home

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MASK_RCNN_OFFLINE", raising=False)
    return tmp_path / "home"


@contextlib.contextmanager
def serving(content, length=None):
    """Yields the URL of a file and the list of requests for it. `length` is the declared Content-Length."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(length or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/model-0123.pth", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry_of(url, **facts):
    known = {
        "description": "",
        "file_format": "pth",
        "license": "",
        "source": "",
        "published": "",
        "sha256": SHA256,
    }
    return Entry(name="source/model", url=url, **{**known, **facts})


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"sha256": SHA256[:8]},
        {"sha256": "", "md5": hashlib.md5(CONTENT).hexdigest()[:6]},
        {"sha256": ""},
    ],
)
def test_a_file_is_fetched_once_and_lies_whole_under_its_own_name(home, facts):
    with serving(CONTENT) as (url, requests):
        entry = entry_of(url, **facts)
        path = cache.fetch(entry)
        assert path == cache.fetch(entry) == home / "files" / "source" / "model" / "model-0123.pth"
        assert len(requests) == 1
    assert path.read_bytes() == CONTENT
    assert files_in(home) == ["model-0123.pth"]


def test_what_came_with_another_hash_is_not_kept(home):
    with serving(b"<html>moved</html>") as (url, _), pytest.raises(ValueError) as caught:
        cache.fetch(entry_of(url))
    assert f"must have the hash sha256 {SHA256}" in str(caught.value)
    assert hashlib.sha256(b"<html>moved</html>").hexdigest() in str(caught.value)
    assert files_in(home) == []


def test_a_download_that_breaks_off_is_not_kept(home):
    with (
        serving(CONTENT, length=len(CONTENT) + 1) as (url, _),
        pytest.raises(OSError, match=f"ended after {len(CONTENT)} of {len(CONTENT) + 1} bytes"),
    ):
        cache.fetch(entry_of(url, sha256=""))
    assert files_in(home) == []


def test_without_an_answer_the_error_says_what_to_put_where(home):
    with serving(b"") as (url, _), pytest.raises(OSError) as caught:
        cache.fetch(entry_of(url))
    message = str(caught.value)
    assert "source/model could not be downloaded (HTTP Error 404: Not Found)" in message
    assert f"url:  {url}\n  hash: sha256 {SHA256}\n" in message
    assert f"file: {home / 'files' / 'source' / 'model' / 'model-0123.pth'}" in message


def test_offline_nothing_is_asked_for_and_the_error_says_the_same(home, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "1")
    with serving(CONTENT) as (url, requests):
        with pytest.raises(
            OSError, match=f"MASK_RCNN_OFFLINE forbids downloading source/model.\n.*\n.*{url}"
        ):
            cache.fetch(entry_of(url))
        assert not requests


def test_a_file_put_there_by_hand_is_used_offline(home, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "true")
    entry = entry_of("https://example.org/model.pth")
    path = cache.path_of(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert cache.fetch(entry) == path


def test_a_wrong_file_in_the_cache_is_named_and_stays(home):
    with serving(CONTENT) as (url, requests):
        entry = entry_of(url)
        path = cache.path_of(entry)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"the user's own")
        with pytest.raises(ValueError, match=f"{path}.*damaged, or another file. Move it away"):
            cache.fetch(entry)
        assert path.read_bytes() == b"the user's own" and not requests


@pytest.mark.parametrize("value, offline", [("", False), ("0", False), ("False", False), ("1", True)])
def test_offline_is_what_the_variable_says(monkeypatch, value, offline):
    monkeypatch.setenv("MASK_RCNN_OFFLINE", value)
    assert cache.is_offline() == offline


def test_the_cache_is_where_the_platform_has_its_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("MASK_RCNN_HOME", raising=False)
    monkeypatch.setattr(files.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home() == tmp_path / "mask_rcnn"
    monkeypatch.setattr(files.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_home() == tmp_path / "local" / "mask_rcnn"
    monkeypatch.setattr(files.sys, "platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / "Library" / "Caches" / "mask_rcnn"
