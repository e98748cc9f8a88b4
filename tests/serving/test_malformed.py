"""Sends two thousand malformed requests: none is a server error, and valid ones are answered meanwhile."""

import base64
import io
import json
import re
import socket
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from fake_model import png
from fake_server import running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytestmark = pytest.mark.slow
REQUESTS = 400  # requests of each kind
FUZZ = settings(
    max_examples=REQUESTS,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server():
    with running(max_pixels=1_000_000, max_body=1 << 20, body_timeout=0.5) as one:
        yield one


@pytest.fixture(autouse=True)
def good_requests(server):
    """Sends a valid request after all malformed requests of a test."""
    yield
    assert server.detect(png()).status == 200
    assert 'status="500"' not in server.get("/metrics").body.decode()


def files():
    """Returns an image file of each format."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype="uint8")
    found = []
    for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format)
        found.append(file.getvalue())
    file = io.BytesIO()
    np.save(file, pixels)
    return [*found, file.getvalue()]


FILES = files()


@st.composite
def damaged_files(draw):
    """Draws the bytes of an image file with bytes replaced, removed or inserted."""
    content = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        end = at + draw(st.integers(0, 8))
        content[at:end] = draw(st.binary(max_size=8))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just({"b64": "AAAA"}),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["b64", "image_bytes", "input_tensor", "instances"]) | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "instances": JSON
        | st.lists(damaged_files().map(lambda file: {"b64": base64.b64encode(file).decode()})),
        "inputs": JSON,
        "signature_name": st.sampled_from(["serving_default", "image_bytes", ""]) | JSON,
    },
)


def check(reply):
    assert reply.status < 500, reply.body
    assert b"Traceback" not in reply.body
    if reply.status != 200:
        assert set(reply.json()) == {"error"}


@FUZZ
@given(damaged_files() | st.binary(max_size=200), st.sampled_from(["", "?picture=png", "?masks=polygons"]))
def test_damaged_images(server, content, query):
    check(server.detect(content, query))


@FUZZ
@given(BODIES)
def test_json_of_other_forms(server, body):
    check(server.predict(body))


@FUZZ
@given(BODIES, st.data())
def test_json_that_is_damaged(server, body, data):
    text = bytearray(json.dumps(body).encode())
    at = data.draw(st.integers(0, len(text)))
    text[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    check(server.request("POST", "/v1/models/fruits:predict", bytes(text)))


PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(["score", "masks", "model", "version", "picture"]) | st.text(max_size=5), st.text()
    )
)
KINDS = st.sampled_from(["image/png", "multipart/form-data; boundary=x", "multipart/form-data"]) | st.text()


@FUZZ
@given(PARAMETERS, KINDS, st.sampled_from(["--x\r\n", "--x--", ""]), damaged_files())
def test_parameters_and_forms(server, parameters, kind, start, content):
    from urllib.parse import urlencode

    kind = kind.encode("ascii", "ignore").decode()
    kind = re.sub(r"[\x00-\x1f\x7f]", "", kind)
    query = urlencode(parameters, errors="replace")
    head = f'{start}Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n'.encode()
    check(server.detect(head + content + b"\r\n--x--\r\n", f"?{query}", kind))


LINES = st.lists(
    st.sampled_from(
        [
            b"Content-Length: -1",
            b"Content-Length: 99999999999999999999",
            b"Content-Length: 5",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Content-Type: image/png",
            b"Content-Type: multipart/form-data; boundary=" + b"x" * 300,
            b"Authorization: Bearer \xff",
            b"Upgrade: websocket\r\nConnection: Upgrade",
            b"Expect: 100-continue",
            b"Host: a",
        ]
    )
    | st.binary(max_size=30),
    max_size=5,
)
TARGETS = st.sampled_from([b"/detect", b"/v1/models/fruits:predict", b"/models", b"*"]) | st.binary(
    max_size=20
)


@FUZZ
@given(
    st.sampled_from([b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT"]), TARGETS, LINES, st.binary(max_size=30)
)
def test_requests_of_any_bytes(server, method, target, lines, body):
    content = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", body])
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(content)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    for status in re.findall(rb"^HTTP/1.1 (\d+)", answer, re.MULTILINE):
        assert int(status) < 500, answer
    assert b"Traceback" not in answer


def test_requests_that_the_description_allows_and_forbids(server):
    pytest.importorskip("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    words = [sys.executable, "-m", "schemathesis.cli", "run", url, "--checks", checks, "--seed", "1"]
    done = subprocess.run([*words, "--max-examples", "50"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
