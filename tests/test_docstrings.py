"""Tests that the examples in docstrings have the results that they show."""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "mask_rcnn"


def has_examples(path):
    """Returns whether a module has examples that are not marked with `doctest: +SKIP`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(">>>" in line and "+SKIP" not in line for line in lines)


def module_of(path):
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = sorted(module_of(path) for path in PACKAGE.rglob("*.py") if has_examples(path))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_have_the_results_that_they_show(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted and not results.failed
