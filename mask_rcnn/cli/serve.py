"""`mask-rcnn serve`: serves models over HTTP, with TensorFlow Serving's protocol and a web page."""

import argparse
import functools
import ipaddress
import os
from pathlib import Path

from absl import logging

from mask_rcnn.cli.options import HelpFormatter, Subparsers, add_command, add_precision, local_path
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

models/fruits may contain versions, 1/, 2/: the newest is served. When a new version appears, it is loaded and
then replaces the old one, without a lost request.

Ctrl-C and SIGTERM stop the server after the accepted requests are answered. Without --token-file and
$MASK_RCNN_TOKEN, everybody who can connect to the port can use the models. The server has no TLS: use a proxy
with TLS in a network that you do not trust.
"""


class _Formatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def add_parser(commands: Subparsers) -> None:
    """Adds the command `serve` with its options."""
    parser = add_command(
        commands,
        "serve",
        run,
        summary="serve models over HTTP, with TensorFlow Serving's protocol, JSON replies and a web page",
    )
    parser.epilog, parser.formatter_class = EPILOG, _Formatter
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="weights, a name of `mask-rcnn models list`, a SavedModel folder, a .tflite or .onnx file, or a "
        "folder with numbered versions of these; NAME=PATH gives it a name",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all addresses")
    parser.add_argument(
        "--port", metavar="N", type=int, default=8501, help="port to listen on; 0: any free port"
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=local_path,
        help=f"file with the token that clients must send (default: ${TOKEN_VARIABLE}, or no token)",
    )
    add_precision(parser)
    _add_limits(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    default = Options()
    for name, value_type, metavar, text in (
        ("max_body", int, "BYTES", "maximum size of a request"),
        ("max_pixels", int, "PIXELS", "maximum size of an image, checked before the file is decoded"),
        ("queue", int, "N", "maximum number of waiting images per model; further requests get status 429"),
        ("batch_wait", float, "MS", "maximum time that an image waits for others of its batch, milliseconds"),
        ("timeout", float, "SECONDS", "maximum time to answer a request; after it, the status is 504"),
        ("body_timeout", float, "SECONDS", "maximum time to receive the head of a request, and its body"),
        ("keep_versions", int, "N", "number of served versions of each folder, the newest ones"),
        ("poll", float, "SECONDS", "time between two checks for new versions; 0: check only at the start"),
    ):
        option, value = f"--{name.replace('_', '-')}", getattr(default, name)
        parser.add_argument(option, metavar=metavar, type=value_type, default=value, help=text)
    parser.add_argument(
        "--max-batch",
        metavar="N",
        type=int,
        help="maximum number of images per batch; only images of equal padded size are batched (default: 1 "
        "on a CPU, 4 on a GPU)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=default_threads(),
        help="threads per model that decode images, and the same number that write replies",
    )


def run(args: argparse.Namespace) -> None:
    """Serves the models until the process gets Ctrl-C or SIGTERM."""
    try:
        import python_multipart  # noqa: F401, Starlette imports it when it receives the first form

        from mask_rcnn.serving.server import serve
    except ImportError as error:
        raise ImportError(
            f"`mask-rcnn serve` needs Starlette and uvicorn. Received: {error}. "
            "Run `pip install 'mask-rcnn[serve]'`."
        ) from error
    token = read_token(args.token_file)
    names = [name for name in Options.__dataclass_fields__ if name != "token"]
    options = Options(token=token, **{name: getattr(args, name) for name in names})
    sources = [_local_source(parse_source(text)) for text in args.models]
    check_sources(sources)
    warn_of_exposure(args.host, token)
    import_tensorflow()
    from mask_rcnn.serving.loading import load_model

    load = functools.partial(load_model, precision=args.precision)
    serve(sources, load, options, host=args.host, port=args.port)


def _local_source(source: Source) -> Source:
    """Returns a source whose path exists. Published weights are downloaded."""
    if source.path.is_dir() or (source.path.name.endswith(MODEL_SUFFIXES) and source.path.is_file()):
        return source
    return Source(source.name, Path(weights_file(source.path)))


def read_token(path: Path | None) -> str | None:
    """Returns the token in a file. If `path` is None, returns that of the environment variable, or None."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE)
    return path.read_text(encoding="utf-8").strip()


def warn_of_exposure(host: str, token: str | None) -> None:
    """Logs a warning if other machines can send requests without a token."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback and token is None:
        logging.warning(
            "Everybody who can connect to %s can use the models. Set --token-file or $%s.",
            host,
            TOKEN_VARIABLE,
        )
