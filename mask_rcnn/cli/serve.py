"""`mask-rcnn serve`: serves models over HTTP, with TensorFlow Serving's protocol and a web page."""

import argparse
import functools
import ipaddress
import os
from pathlib import Path

from absl import logging

from mask_rcnn.cli.options import HelpFormatter, add_command, add_precision, local_path
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.serving.options import TOKEN_VARIABLE, Options
from mask_rcnn.serving.sources import MODEL_SUFFIXES, Source, check_sources, parse_source
from mask_rcnn.system.parallel import default_threads

EPILOG = """\
examples:
  mask-rcnn serve runs/fruits/best.weights.h5
  mask-rcnn serve fruits=models/fruits nuclei=nuclei.tflite --port 8080
  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8501/detect

models/fruits may hold versions, 1/, 2/: the newest is served. A new one is loaded beside it, and takes its
place without losing a request.

Ctrl-C and SIGTERM finish the requests that were accepted. Without --token-file and $MASK_RCNN_TOKEN everybody
who reaches the port may use the models; there is no TLS: put a proxy in front where others can listen.
"""


class _Formatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def add_parser(commands):
    parser = add_command(
        commands, "serve", run, "answer requests over HTTP: TensorFlow Serving's protocol, JSON and a page"
    )
    parser.epilog, parser.formatter_class = EPILOG, _Formatter
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="weights, a name of `mask-rcnn models list`, a SavedModel folder, a .tflite or .onnx file, or a "
        "folder with numbered versions of these; NAME=PATH gives it a name",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all of them")
    parser.add_argument("--port", metavar="N", type=int, default=8501, help="0 is any free one")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=local_path,
        help=f"file with the token that clients must send (default: ${TOKEN_VARIABLE}, or no token)",
    )
    add_precision(parser)
    _add_limits(parser)


def _add_limits(parser):
    default = Options()
    for name, kind, metavar, text in (
        ("max_body", int, "BYTES", "of a request"),
        ("max_pixels", int, "PIXELS", "of an image file, checked before it is decoded"),
        ("queue", int, "N", "images that wait for each model; more are refused with status 429"),
        ("batch_wait", float, "MS", "milliseconds that an image waits for others of its batch"),
        ("timeout", float, "SECONDS", "to answer a request; later ones get status 504"),
        ("body_timeout", float, "SECONDS", "to receive a request"),
        ("keep_versions", int, "N", "newest versions of each folder that are served"),
        ("poll", float, "SECONDS", "between looks for new versions; 0 never looks again"),
    ):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, metavar=metavar, type=kind, default=getattr(default, name), help=text)
    parser.add_argument(
        "--max-batch",
        metavar="N",
        type=int,
        help="images of equal padded shape that a model sees at once (default: 1 on a CPU, 4 on a GPU)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=default_threads(),
        help="that decode images beside each model, and as many that write answers",
    )


def run(args):
    try:
        import python_multipart  # noqa: F401, for forms; Starlette imports it at the first one

        from mask_rcnn.serving.server import serve
    except ImportError as error:
        raise ImportError(
            f"`mask-rcnn serve` needs Starlette and uvicorn. Received: {error}. "
            "Run `pip install 'mask-rcnn[serve]'`."
        ) from error
    token = read_token(args.token_file)
    names = [name for name in Options.__dataclass_fields__ if name != "token"]
    options = Options(token=token, **{name: getattr(args, name) for name in names})
    sources = [_find(parse_source(text)) for text in args.models]
    check_sources(sources)
    warn_of_exposure(args.host, token)
    import_tensorflow()
    from mask_rcnn.serving.loading import load_model

    load = functools.partial(load_model, precision=args.precision)
    serve(sources, load, options, host=args.host, port=args.port)


def _find(source):
    """Returns a source whose path exists. Published weights are downloaded."""
    if source.path.is_dir() or source.path.name.endswith(MODEL_SUFFIXES) and source.path.is_file():
        return source
    return Source(source.name, Path(weights_file(source.path)))


def read_token(path):
    """Returns the token from a file, or from the environment variable without one, or None."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE)
    return path.read_text(encoding="utf-8").strip()


def warn_of_exposure(host, token):
    """Logs a warning if other machines can send requests without a token."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback and token is None:
        logging.warning(
            "Everybody who reaches %s may use the models: give --token-file or $%s.", host, TOKEN_VARIABLE
        )
