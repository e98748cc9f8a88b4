"""Checks the ops of TFLite files, and appends the associated files.

The associated files of TFLite are a zip archive after the flatbuffer. A zip reader finds it from the end of
the file, and an interpreter never reads it.
"""

import collections
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

METADATA = "metadata.json"


def operators(content: bytes) -> collections.Counter[str]:
    """Counts the ops of a TFLite file.

    Args:
        content: Bytes of the file.

    Returns:
        `collections.Counter` of op names, such as "CONV_2D". Ops that are not built in have their custom
        name, such as "FlexCropAndResize".
    """
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)  # all its fields are declared as optional
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = [
        code.customCode.decode() if code.customCode else names[code.builtinCode]
        for code in model.operatorCodes
    ]
    graphs = model.subgraphs
    return collections.Counter(codes[op.opcodeIndex] for graph in graphs for op in graph.operators)


def check_operators(content: bytes) -> None:
    """Raises a ValueError if a TFLite file has ops that are not built in, or variables instead of weights."""
    from ai_edge_litert import schema_py_generated as schema

    counts = operators(content)
    custom = sorted(name for name in counts if not hasattr(schema.BuiltinOperator, name))
    if custom:
        raise ValueError(
            "Expected only built-in ops in a TFLite file. "
            f"Received: {', '.join(custom)}. `builtin_ops` has no replacement for a part of this model. "
            "Use another backbone or pooler, or export a SavedModel."
        )
    if "VAR_HANDLE" in counts:
        raise ValueError(
            f"Expected the weights in the file. Received: {counts['VAR_HANDLE']} variables without values. "
            "Give the converter a module that has the variables of the model."
        )


def metadata_file(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Returns the metadata for a runner as a file, `{file name: text}`."""
    return {METADATA: json.dumps(metadata, indent=1) + "\n"}


def pack(content: bytes, assets: Mapping[str, str], metadata: Mapping[str, Any]) -> bytes:
    """Returns a TFLite file with its associated files.

    Args:
        content: Bytes of the flatbuffer.
        assets: `{file name: text}` of `assets.write_assets`.
        metadata: Dict for the file METADATA, which a runner needs. The size and the SHA-256 of the flatbuffer
            are added, because interpreters do not notice all damage.

    Returns:
        Bytes of the complete file.
    """
    checksum = {"model_bytes": len(content), "model_sha256": hashlib.sha256(content).hexdigest()}
    metadata = {**metadata, **checksum}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**assets, **metadata_file(metadata)}.items():
            # A fixed date, so that the same model always gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return content + stream.getvalue()
