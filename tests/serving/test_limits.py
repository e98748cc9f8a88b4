"""Tests of the server's limits: invalid requests are refused, and others are answered meanwhile."""

import contextlib
import json
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_model import POISON, FakePredictor, fake_model, png
from fake_server import running, until

from mask_rcnn.serving.options import Options


@contextlib.contextmanager
def raw(server, content):
    """Sends raw bytes, and yields a function that returns all bytes of the reply."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(content)

        def answer():
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
            return received

        yield answer


def head(length, *lines):
    rows = [
        "POST /detect HTTP/1.1",
        "Host: a",
        "Content-Type: image/png",
        f"Content-Length: {length}",
        *lines,
    ]
    return ("\r\n".join(rows) + "\r\n\r\n").encode()


def bomb(width, height):
    """Returns a PNG file whose header declares `width` x `height` pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + png()[33:]


def gated(**options):
    """Returns a predictor whose batches wait for `gate`, and the context manager of its server."""
    predictor = FakePredictor()
    model = fake_model(predictor)
    predictor.gate.clear()
    return predictor, running({"fruits": model}, threads=2, **options)


def test_a_body_that_is_too_large_is_refused_while_it_is_read():
    with running(max_body=1000) as server:
        reply = server.detect(b"x" * 1500)
        assert reply.status == 413
        assert "--max-body" in reply.json()["error"]
        assert server.predict({"instances": ["x" * 1500]}).status == 413
        chunked = b"POST /detect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        chunked += b"Content-Type: image/png\r\n\r\n" + b"800\r\n" + b"x" * 0x800 + b"\r\n"
        with raw(server, chunked) as answer:  # the body never ends
            assert b"413" in answer().splitlines()[0]
        assert server.detect(png()).status == 200


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded():
    with running(max_pixels=48) as server:
        assert server.detect(png(size=(6, 8))).status == 200
        reply = server.detect(bomb(60_000, 60_000))
        assert reply.status == 413
        assert "60000 x 60000" in reply.json()["error"]


def test_a_jpeg_of_very_many_scans_is_refused():
    with running() as server:
        reply = server.detect(b"\xff\xd8\xff" + b"\xff\xda\x00\x02" * 101, kind="image/jpeg")
        assert (reply.status, "scans" in reply.json()["error"]) == (400, True)


def test_a_slow_client_costs_its_own_request():
    with running(body_timeout=0.3) as server, raw(server, head(5000) + b"abc") as answer:
        assert server.detect(png()).status == 200
        status, _, body = answer().partition(b"\r\n\r\n")
        assert b"408" in status.splitlines()[0]
        assert "0.3 seconds" in json.loads(body)["error"]


def test_a_connection_without_a_request_is_closed():
    with running(body_timeout=0.3) as server, raw(server, b"POST /detect HTT") as answer:
        assert answer() == b""


@pytest.mark.parametrize("content", [b"\x16\x03\x01 hello\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n"])
def test_what_is_not_http_is_refused_in_the_same_form(content):
    with running() as server, raw(server, content) as answer:
        status, _, body = answer().partition(b"\r\n\r\n")
        assert b"400" in status.splitlines()[0]
        assert set(json.loads(body)) == {"error"}


def test_a_full_queue_refuses_and_says_when_to_come_again():
    predictor, context = gated(queue=2)
    with context as server, ThreadPoolExecutor(2) as clients:
        accepted = [clients.submit(server.detect, png()) for _ in range(2)]
        until(lambda: 'waiting_images{model="fruits"} 2.0' in server.get("/metrics").body.decode())
        reply = server.detect(png())
        assert reply.status == 429
        assert int(reply.headers["Retry-After"]) >= 1
        predictor.gate.set()
        assert [each.result().status for each in accepted] == [200, 200]
        assert server.detect(png()).status == 200
        assert server.predict({"instances": [[[[1, 1, 1]]]] * 3}).status == 400  # can never be accepted


def test_a_request_that_takes_too_long_is_given_up():
    predictor, context = gated(timeout=0.3)
    with context as server, ThreadPoolExecutor(2) as clients:
        late = [clients.submit(server.detect, png()) for _ in range(2)]
        assert [each.result().status for each in late] == [504, 504]
        predictor.gate.set()
        assert server.detect(png()).status == 200
        assert len(predictor.batches) == 2  # the second late request did not reach the model


def test_images_of_one_size_share_a_batch():
    predictor, context = gated(max_batch=4)
    with context as server, ThreadPoolExecutor(6) as clients:
        first = clients.submit(server.detect, png())
        assert predictor.entered.acquire(timeout=20)
        others = [clients.submit(server.detect, png(green=1)) for _ in range(3)]
        others += [clients.submit(server.detect, png(size=(9, 9))) for _ in range(2)]
        until(lambda: server.repository.available("fruits")[0].batcher.unfinished == 6)
        predictor.gate.set()
        assert {each.result().status for each in [first, *others]} == {200}
        assert sorted(predictor.batches) == [1, 2, 3]


def test_an_image_that_the_model_fails_on_costs_only_its_request():
    predictor, context = gated(max_batch=4, batch_wait=1000)
    with context as server, ThreadPoolExecutor(4) as clients:
        first = clients.submit(server.detect, png())
        assert predictor.entered.acquire(timeout=20)
        mates = [clients.submit(server.detect, png(blue=blue)) for blue in (0, POISON, 0)]
        until(lambda: server.repository.available("fruits")[0].batcher.unfinished == 4)
        predictor.gate.set()
        assert [each.result().status for each in [first, *mates]] == [200, 200, 500, 200]
        assert "poisoned" not in mates[1].result().json()["error"]


def test_a_client_that_has_gone_is_not_computed():
    predictor, context = gated()
    with context as server:
        first = threading.Thread(target=server.detect, args=(png(),))
        first.start()
        assert predictor.entered.acquire(timeout=20)
        with raw(server, head(len(png())) + png()):
            until(lambda: server.repository.available("fruits")[0].batcher.unfinished == 2)
        until(lambda: 'status="499"' in server.get("/metrics").body.decode())
        predictor.gate.set()
        first.join()
        assert server.detect(png()).status == 200
        assert len(predictor.batches) == 2


def test_what_was_accepted_is_answered_at_the_end():
    predictor, context = gated()
    with ThreadPoolExecutor(1) as clients:
        with context as server:
            reply = clients.submit(server.detect, png())
            assert predictor.entered.acquire(timeout=20)
            server.server.should_exit = True
            until(lambda: refuses_connections(server))
            predictor.gate.set()
        assert reply.result().status == 200


def refuses_connections(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except ConnectionError:
        return True
    return False


def test_a_token_is_asked_for():
    with running(token="secret") as server:
        assert server.get("/models", Authorization="Bearer secret").status == 200
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic secret"}):
            reply = server.get("/models", **headers)
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert server.detect(png()).status == 401
        assert server.get("/healthz").status == 200
        assert server.get("/").status == 200
        assert server.get("/openapi.json", Authorization="Bearer secret").json()["security"] == [
            {"token": []}
        ]


def test_requests_wait_until_the_models_are_loaded():
    gate = threading.Event()

    def load(path):
        assert gate.wait(20)
        return fake_model()

    with running(load=load, wait=False) as server:
        for reply in (server.get("/healthz"), server.detect(png())):
            assert (reply.status, "loaded" in reply.json()["error"]) == (503, True)
            assert int(reply.headers["Retry-After"]) >= 1
        status = server.get("/v1/models/fruits").json()["model_version_status"]
        assert status[0]["state"] == "LOADING"
        gate.set()
        until(lambda: server.get("/healthz").status == 200)
        assert server.detect(png()).status == 200


@pytest.mark.parametrize(
    "options",
    [
        {"max_body": 0},
        {"queue": 0},
        {"timeout": float("nan")},
        {"batch_wait": -1},
        {"token": ""},
        {"token": "a\n"},
    ],
)
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="Received"):
        Options(**options)
