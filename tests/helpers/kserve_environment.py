"""The Python environment that tests of KServe need."""

import os

import pytest

# Python of an environment with KServe, which needs another version of protobuf.
KSERVE_PYTHON = os.environ.get("MASK_RCNN_KSERVE_PYTHON", "")
needs_kserve = pytest.mark.skipif(
    not KSERVE_PYTHON, reason="needs KServe: MASK_RCNN_KSERVE_PYTHON, the Python of its environment"
)
