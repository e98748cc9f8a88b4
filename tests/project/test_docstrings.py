"""Tests that all public definitions have docstrings and annotations, and that examples are right."""

import ast
import doctest
import functools
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "mask_rcnn"
# Methods that the base classes of Keras and asyncio define. Those of callbacks begin with `on_`.
OVERRIDES = {
    *(
        "__init__",
        "build",
        "call",
        "compute_output_shape",
        "compute_output_spec",
        "from_config",
        "get_config",
    ),
    *("test_step", "train_step", "update_step"),
    *("connection_lost", "connection_made", "send_400_response"),
}


@functools.cache
def syntax_tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def classes():
    """Returns `{name: definition}` of all classes of the package."""
    nodes = [node for path in PACKAGE.rglob("*.py") for node in syntax_tree(path).body]
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


def public_definitions(tree):
    """Yields (full name, definition, class or None) of each public function, class and method of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node.name, node, None
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and (
                    member.name[0] != "_" or member.name == "__init__"
                ):
                    yield f"{node.name}.{member.name}", member, node


def decorators(node):
    """Returns the names of the decorators, such as "dataclass" for `@dataclass(frozen=True)`."""
    calls = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


def is_documented(node, owner):
    """Returns whether a definition, or the method of a base class that it overrides, has a docstring."""
    if ast.get_docstring(node) or node.name in OVERRIDES or node.name.startswith("on_"):
        return True
    bases = [classes().get(ast.unparse(base).rpartition(".")[2]) for base in owner.bases] if owner else []
    members = ((member, base) for base in bases if base for member in base.body)
    return any(
        is_documented(member, base) for member, base in members if getattr(member, "name", "") == node.name
    )


def without_annotation(function, owner):
    """Returns the names of the parameters without annotation, and "result" if it has none."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args]
    if owner is not None and "staticmethod" not in decorators(function):
        parameters = parameters[1:]  # without `self`
    parameters += filter(None, [*arguments.kwonlyargs, arguments.vararg, arguments.kwarg])
    names = [parameter.arg for parameter in parameters if parameter.annotation is None]
    has_result = function.returns is not None or function.name == "__init__"
    return names if has_result else [*names, "result"]


def undocumented_fields(node, lines):
    """Yields the public fields of a dataclass that have no comment, and that its docstring does not name."""
    text = ast.get_docstring(node) or ""
    for field in node.body if "dataclass" in decorators(node) else ():
        if isinstance(field, ast.AnnAssign) and field.target.id[0] != "_":
            has_comment = "#" in "".join(lines[field.lineno - 1 : field.end_lineno])
            has_comment |= lines[field.lineno - 2].lstrip().startswith("#")
            if not has_comment and not re.search(rf"\b{field.target.id}\b", text):
                yield field.target.id


def missing(path):
    """Yields a line for each public definition of a module that lacks a docstring or an annotation.

    Of an overloaded function, the overloads have the annotations, and the implementation has the docstring.
    """
    definitions = list(public_definitions(syntax_tree(path)))
    overloaded = {name for name, node, _ in definitions if "overload" in decorators(node)}
    for name, node, owner in definitions:
        place = f"{path.relative_to(PACKAGE)}:{node.lineno} {name}"
        if not decorators(node) & {"overload", "setter"} and not is_documented(node, owner):
            yield f"{place}: no docstring"
        if isinstance(node, ast.ClassDef):
            for field in undocumented_fields(node, path.read_text(encoding="utf-8").splitlines()):
                yield f"{place}: field {field} is not documented"
        elif name not in overloaded or "overload" in decorators(node):
            for parameter in without_annotation(node, owner):
                yield f"{place}: no annotation of {parameter}"


@pytest.mark.parametrize(
    "package", sorted({path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")})
)
def test_public_functions_and_fields_are_documented_and_annotated(package):
    paths = (PACKAGE / package).rglob("*.py") if (PACKAGE / package).is_dir() else [PACKAGE / package]
    assert not [line for path in sorted(paths) for line in missing(path)]


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
