"""Reads the bodies of requests within limits of memory and time."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mask_rcnn.serving.options import Options
from mask_rcnn.serving.request_error import RequestError

IMAGE_FIELD = "image"
MAX_FIELDS = 8  # largest number of fields in a multipart body
MULTIPART = "multipart/form-data"
BINARY = "application/octet-stream"


async def read_body(request: Request, options: Options) -> bytes:
    """Returns the body of a request, bytes.

    Args:
        request: The request of Starlette.
        options: Limits of the server.

    Raises:
        RequestError: Status 413 if it is too large; 408 if it takes too long; 400 if the client disconnects.
    """
    return b"".join([chunk async for chunk in _chunks(request, options)])


async def read_image_file(request: Request, options: Options) -> bytes:
    """Returns the bytes of the image file of a request.

    The file is the body, or the field `image` of a multipart form.

    Args:
        request: The request of Starlette.
        options: Limits of the server.

    Raises:
        RequestError: As in `read_body`; 415 for another content type; 400 without an image file.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == MULTIPART:
        contents = await _read_field(request, options)
    elif content_type == BINARY or content_type.startswith("image/"):
        contents = await read_body(request, options)
    else:
        await read_body(request, options)
        raise RequestError(
            415,
            f"Expected Content-Type: image/*, {BINARY}, or {MULTIPART} with a field {IMAGE_FIELD!r}. "
            f"Received: {content_type[:60]!r}.",
        )
    if not contents:
        raise RequestError(400, "Expected an image file. Received: no bytes.")
    return contents


async def _read_field(request: Request, options: Options) -> bytes:
    chunks = _chunks(request, options)
    parser = MultiPartParser(request.headers, chunks, max_files=1, max_fields=MAX_FIELDS)
    parser.spool_max_size = options.max_body  # keeps the file in memory, where the body fits
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise RequestError(
            400, f"Expected a multipart form. Received: {getattr(error, 'message', None) or error!r}."
        ) from error
    try:
        file = form.get(IMAGE_FIELD)
        if not isinstance(file, UploadFile):
            raise RequestError(
                400, f"Expected a file in the field {IMAGE_FIELD!r}. Received: {list(form)[:5]}."
            )
        return await file.read()
    finally:
        await form.close()


async def _chunks(request: Request, options: Options) -> AsyncGenerator[bytes, None]:
    """Yields the parts of a body, and raises a `RequestError` if it is too large or too slow.

    The received bytes are counted, because a Content-Length header may be wrong. If a body is too large, up
    to `max_body` further bytes are read and dropped, so that the client can read the reply.
    """
    received = 0
    deadline = asyncio.get_running_loop().time() + options.body_timeout
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise RequestError(
                408,
                f"Expected the whole request within {options.body_timeout:g} seconds. Send it faster.",
                close=True,
            ) from None
        except ClientDisconnect:
            raise RequestError(400, "The client disconnected before the request was complete.") from None
        if chunk is None:
            break
        received += len(chunk)
        if received > 2 * options.max_body:
            break
        if received <= options.max_body:
            yield chunk
    if received > options.max_body:
        raise RequestError(
            413,
            f"Expected at most {options.max_body} bytes. Received: more. "
            "Make the image smaller, or start the server with a larger --max-body.",
            close=True,
        )
