"""Runs a server of fake models in a thread, and sends requests with the standard library only."""

import contextlib
import http.client
import json
import threading
import time
from pathlib import Path

from fake_model import fake_model

from mask_rcnn.serving.options import Options
from mask_rcnn.serving.server import bind, make_server
from mask_rcnn.serving.sources import Source

SECONDS = 20  # time limit of waiting in a test


class Reply:
    """A reply: `status`, `headers`, and `body` in bytes."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)


class Running:
    """A running server.

    Attributes:
        port: Its port.
        server: uvicorn server.
        repository: `Repository`.
        patience: Seconds to wait for a reply.
    """

    def __init__(self, port, server, repository, patience):
        self.port, self.server, self.repository, self.patience = port, server, repository, patience

    def request(self, method, path, body=None, headers=None):
        """Returns the `Reply` to a request. A dict is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience)
        with contextlib.closing(connection):
            body = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, body, headers or {})
            return Reply(connection.getresponse())

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def predict(self, body, name="fruits"):
        return self.request("POST", f"/v1/models/{name}:predict", body)

    def detect(self, contents, query="", kind="image/png"):
        return self.request("POST", f"/detect{query}", contents, {"Content-Type": kind})


@contextlib.contextmanager
def running(models=None, *, sources=None, load=None, wait=True, patience=SECONDS, **options):
    """A context manager that runs a server and yields a `Running`.

    Args:
        models: `{name: ServedModel}`. Defaults to one model, `fruits`.
        sources, load: Arguments of `Repository`, instead of `models`.
        wait: Whether to wait until the models are loaded. Defaults to True.
        patience: Seconds to wait for a reply. Defaults to 20.
        options: Fields of `Options`.
    """
    models = models or {"fruits": fake_model()}
    sources = sources or [Source(name, Path("nowhere", name)) for name in models]
    load = load or (lambda path: models[path.name])
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server, repository = make_server(sources, load, Options(**options))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until(lambda: server.started and (repository.is_ready or not wait))
        yield Running(port, server, repository, patience)
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        repository.close()
        assert not thread.is_alive()


def until(condition):
    """Waits until a function returns a true value, and returns it."""
    end = time.monotonic() + SECONDS
    while not (result := condition()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)
    return result
