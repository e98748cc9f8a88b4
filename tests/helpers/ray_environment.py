"""What tests need to start Ray."""

import importlib.util

import pytest

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")
TIMEOUT = 900  # seconds
