"""Reads XML files of annotation tools. Rejects document types and entities."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from mask_rcnn.data.json_file import read_bytes

MAX_DEPTH = 64  # nested elements; CVAT's files have 6 levels


class _DocumentTypeError(Exception):
    pass


class _PlainTreeBuilder(ElementTree.TreeBuilder):
    """Rejects elements that are nested too deeply, and document types, because they can declare entities."""

    depth = 0

    def doctype(self, name, public_id, system_id):
        raise _DocumentTypeError(f"a document type, <!DOCTYPE {name[:40]} ...>")

    def start(self, tag, attributes):
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _DocumentTypeError(f"more than {MAX_DEPTH} levels of elements")
        return super().start(tag, attributes)

    def end(self, tag):
        self.depth -= 1
        return super().end(tag)


def read_xml(path: Path, expected: str, root: str) -> ElementTree.Element:
    """Returns the root element of an XML file.

    Args:
        path: Path of the file.
        expected: What the file should be, such as "a CVAT file", for the messages.
        root: Name that the root element must have.

    Returns:
        `xml.etree.ElementTree.Element`.

    Raises:
        OSError: If there is no such file, or it cannot be opened.
        ValueError: If it is not complete XML, has a document type, is nested too deeply, or has another root.
    """
    parser = ElementTree.XMLParser(target=_PlainTreeBuilder())
    try:
        parser.feed(read_bytes(path, expected))
        element = parser.close()
    except ElementTree.ParseError as error:
        raise _unreadable(path, expected, f"which is not complete XML ({error})") from error
    except (LookupError, ValueError) as error:  # an encoding that Python does not support
        raise _unreadable(path, expected, f"which cannot be decoded ({error})") from error
    except _DocumentTypeError as error:
        raise _unreadable(path, expected, f"which has {error}") from error
    if element.tag != root:
        raise _unreadable(path, expected, f"whose root element is <{element.tag[:40]}>, not <{root}>")
    return element


def _unreadable(path, expected, reason):
    return ValueError(
        f"Expected {expected}. Received: {str(path)!r}, {reason}. Correct the file or export it again."
    )
