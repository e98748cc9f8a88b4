"""Folders that tests and the programs that they start use."""

from pathlib import Path

HELPERS = Path(__file__).parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
PARITY = TESTS / "parity"
SAMPLES = ROOT / "samples"
SERVING = ROOT / "export" / "serving"  # configuration of TensorFlow Serving, KServe and Ray Serve
# Data sets and weights outside the repository. Tests that need them are skipped if they do not exist.
EXTERNAL = ROOT.parent / "shared"
