"""Web servers of the tests: one for files, and one that replies like `mask-rcnn serve`."""

import contextlib
import functools
import http.server
import json
import threading
import urllib.parse

from mask_rcnn.shipped_files import shipped_folder

WEB = shipped_folder("export/web")
MODELS = [
    {
        "name": name,
        "versions": ["1"],
        "kind": "weights",
        "classes": [{"id": 1, "name": "cat"}, {"id": 5, "name": "person"}],
        "keypoints": {"person": {"names": ["nose", "hand"], "skeleton": [[0, 1]]}},
        "masks": True,
    }
    for name in ("first", "second")
]
# Detections in an image of 8 x 6 pixels. The mask has columns 1 to 3 of rows 2 to 4.
DETECTIONS = [
    {
        "category_id": 5,
        "category": "person",
        "score": 0.9,
        "bbox": [1.0, 2.0, 3.0, 3.0],
        "segmentation": {"size": [6, 8], "counts": [8, 3, 3, 3, 3, 3, 25]},
        "keypoints": [1.5, 2.5, 0.8, 3.0, 4.0, 0.7],
    },
    {"category_id": 1, "category": "cat", "score": 0.3, "bbox": [4.0, 0.0, 3.0, 2.0]},
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *args):
        pass

    def copyfile(self, source, output):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the browser has disconnected
            super().copyfile(source, output)


class FakeServer(Quiet):
    """Replies to `/`, `/static/...`, `/models` and `/detect` with MODELS and DETECTIONS, by its `State`."""

    def do_GET(self):
        if self.path == "/models":
            self.answer(200, {"models": MODELS})
        elif self.path == "/":
            self.send_file("index.html")
        else:
            self.send_file(self.path.removeprefix("/static/"))

    def do_POST(self):
        picture = self.rfile.read(int(self.headers["Content-Length"]))
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        self.server.state.asked += ((query, picture),)
        if self.server.state.refusal:
            status, error = self.server.state.refusal
            self.answer(status, {"error": error})
            return
        answer = {"model": query["model"], "version": "1", "image": {"width": 8, "height": 6}}
        self.answer(200, {**answer, "seconds": 0.25, "detections": DETECTIONS})

    def send_file(self, name):
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(name))
        self.end_headers()
        self.wfile.write((WEB / name).read_bytes())

    def answer(self, status, content):
        token = self.server.state.token
        if token and self.headers["Authorization"] != f"Bearer {token}":
            status, content = 401, {"error": "This server needs a token."}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


class State:
    """Settings and records of a `FakeServer`.

    Attributes:
        token: Token that requests need. Defaults to None.
        refusal: (status, error) of `/detect`. Defaults to None.
        asked: Tuple of (query, bytes of the image) of each `/detect`.
    """

    def __init__(self):
        self.token, self.refusal, self.asked = None, None, ()


@contextlib.contextmanager
def running(handler):
    """Runs a server on a free port of this machine; yields `(address, State)`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.state = State()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def files_of(folder):
    """Returns a handler that serves a folder."""
    return functools.partial(Quiet, directory=str(folder))
