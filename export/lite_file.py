"""A TFLite file: what is in it, and the small files that travel at its end.

The associated files of TFLite are a zip behind the flatbuffer, which a zip reader finds from the end and an
interpreter never reads.
"""

import collections
import hashlib
import io
import json
import zipfile

METADATA = "metadata.json"


def operators(content):
    """Counts the operations of a TFLite file.

    Args:
        content: bytes of the file.

    Returns:
        `collections.Counter` of their names: "CONV_2D", ...; those that are not built in by the name they
        were given, such as "FlexCropAndResize".
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = [
        code.customCode.decode() if code.customCode else names[code.builtinCode]
        for code in model.operatorCodes
    ]
    graphs = model.subgraphs
    return collections.Counter(codes[op.opcodeIndex] for graph in graphs for op in graph.operators)


def check_operators(content):
    """Raises a ValueError if a file needs more than TFLite's own operations, or lost its weights."""
    from ai_edge_litert import schema_py_generated as schema

    found = operators(content)
    foreign = sorted(name for name in found if not hasattr(schema.BuiltinOperator, name))
    if foreign:
        raise ValueError(
            "A TFLite file of ours has only built-in operations. "
            f"Received: {', '.join(foreign)}. The model has a part that `builtin_ops` does not cover."
        )
    if "VAR_HANDLE" in found:
        raise ValueError(
            f"The weights must be in the file. Received: {found['VAR_HANDLE']} variables without values. "
            "The converter was not given the variables of the model."
        )


def metadata_file(metadata):
    """Returns the dict of what a runner needs to know as a file, `{name: text}`."""
    return {METADATA: json.dumps(metadata, indent=1) + "\n"}


def pack(content, assets, metadata):
    """Returns a TFLite file with its associated files.

    Args:
        content: bytes of the flatbuffer.
        assets: `{name: text}` of `assets.write_assets`.
        metadata: dict for METADATA: what a runner needs to know. The size and the checksum of the flatbuffer
            are added: interpreters do not notice all damage.
    """
    checksum = {"model_bytes": len(content), "model_sha256": hashlib.sha256(content).hexdigest()}
    metadata = {**metadata, **checksum}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (assets | metadata_file(metadata)).items():
            # A fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return content + stream.getvalue()
