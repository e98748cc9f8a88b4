"""MkDocs hooks: they generate the reference pages and copy linked files from outside of `docs/` to the site.

A reference page contains a marker such as `<!-- generated: commands -->`, which is replaced by the text that
the function of that name in `GENERATORS` returns. None of them imports TensorFlow.
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import os
import re
import tokenize
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# Pages of the site that are outside of `docs/` in the repository.
OTHER_PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "samples/README.md": "samples.md",
    "samples/fruits_nuts/README.md": "fruits_nuts.md",
    "export/README.md": "export_folder.md",
    "model_zoo/README.md": "model_zoo.md",
    **{
        card.relative_to(ROOT).as_posix(): f"model_zoo/{card.parent.name}.md"
        for card in sorted((ROOT / "model_zoo").glob("*/README.md"))
    },
}
HELP_WIDTH = "100"  # characters per line of `--help`, which is the width of a code block of the site
MARKER = re.compile(r"<!-- generated: (\w+) -->")
LINK = re.compile(r"(\]\(|(?:src|href)=\")(?![a-z]+:)([^)#\"\s]+)")


def on_files(files, config):
    """Adds the pages of `OTHER_PAGES`, and all files outside of `docs/` that a page links to."""
    from mkdocs.structure.files import File

    for name, page in OTHER_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    linked = set()
    for path in [*DOCS.rglob("*.md"), *(ROOT / name for name in OTHER_PAGES)]:
        for _, link in LINK.findall(path.read_text(encoding="utf-8")):
            target = (path.parent / link).resolve()
            if target.is_file() and site_path(target) == f"files/{target.relative_to(ROOT).as_posix()}":
                linked.add(target)
    for target in sorted(linked):
        files.append(File.generated(config, site_path(target), abs_src_path=str(target)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Replaces markers by generated text, and links by those that are valid in the site."""
    sources = {page_name: ROOT / name for name, page_name in OTHER_PAGES.items()}
    source = sources.get(page.file.src_uri, DOCS / page.file.src_uri)
    markdown = MARKER.sub(lambda match: GENERATORS[match[1]](), markdown)
    return LINK.sub(lambda match: match[1] + _site_link(match[2], source, page.file.src_uri), markdown)


def site_path(target):
    """Returns the path in the site's source folder of a file of the repository, with `/`.

    Args:
        target: Absolute `Path`.
    """
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    path = target.relative_to(ROOT).as_posix()
    return OTHER_PAGES.get(path, f"files/{path}")


def _site_link(link, source, page):
    """Returns the link in `page` of the site for `link` in the file `source` of the repository."""
    target = (source.parent / link).resolve()
    if not target.exists() or not target.is_relative_to(ROOT):
        return link  # MkDocs reports it
    return os.path.relpath(site_path(target), os.path.dirname(page) or ".").replace(os.sep, "/")


def commands():
    """Returns the help of each command of `mask-rcnn`, as Markdown."""
    from mask_rcnn.cli.main import COMMANDS

    parser = argparse.ArgumentParser(prog="mask-rcnn")
    actions = parser.add_subparsers()
    for command in COMMANDS:
        command.add_parser(actions)
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), HELP_WIDTH
    try:
        texts = [_help(name, parser) for name, parser in _leaf_commands("mask-rcnn", actions)]
    finally:
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width
    return "\n\n".join(texts)


def _leaf_commands(name, actions):
    """Yields (full name, parser) of each command that has no sub-commands."""
    for word, parser in actions.choices.items():
        groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        if groups:
            yield from _leaf_commands(f"{name} {word}", groups[0])
        else:
            yield f"{name} {word}", parser


def _help(name, parser):
    return f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```"


def config():
    """Returns a table of the fields of each section of the config, as Markdown."""
    from mask_rcnn.config import Config

    sections = [("", Config)]
    for field in dataclasses.fields(Config):
        section = _dataclass_of(field.type)
        if section:
            sections.append((field.name, section))
    return "\n\n".join(_section(name, section) for name, section in sections)


def _dataclass_of(annotation):
    """Returns the dataclass in a type such as `FpnConfig | None`, or None if there is none."""
    kinds = getattr(annotation, "__args__", (annotation,))
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)


def _section(name, section):
    """Returns the heading, the docstring and the table of one dataclass."""
    from mask_rcnn.config.ranges import RANGES

    source = inspect.getsource(section)
    comments, types = field_comments(source), _annotations(source)
    ranges = RANGES.get(section.__name__, {})
    rows = ["| Field | Type | Default | Allowed values | Meaning |", "| --- | --- | --- | --- | --- |"]
    for field in dataclasses.fields(section):
        kind = _dataclass_of(field.type)
        meaning = comments.get(field.name, "")
        if kind:
            meaning = ". ".join(filter(None, [f"See [{field.name}](#{field.name})", meaning]))
        default = "" if kind else f"`{_default(field)}`"
        allowed = _allowed(ranges.get(field.name))
        rows.append(f"| `{field.name}` | `{types[field.name]}` | {default} | {allowed} | {_cell(meaning)} |")
    heading = f"## {name}" if name else "## The whole config"
    return "\n\n".join([heading, inspect.getdoc(section), "\n".join(rows)])


def _annotations(source):
    """Returns `{field: type}` as the source writes them."""
    body = ast.parse(source).body[0].body
    return {node.target.id: ast.unparse(node.annotation) for node in body if isinstance(node, ast.AnnAssign)}


def field_comments(source):
    """Returns `{field: comment}` of a dataclass: the comment on its line, or the lines of comments before it.

    Args:
        source: Source code of the class.
    """
    lines = iter(source.splitlines(keepends=True))
    tokens = list(tokenize.generate_tokens(lambda: next(lines, "")))
    by_line = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    comments = {}
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign):
            continue
        words, line = [], node.lineno - 1
        if node.end_lineno in by_line:
            words.append(by_line[node.end_lineno].string)
        while line in by_line and by_line[line].line.lstrip().startswith("#"):
            words.insert(0, by_line[line].string)
            line -= 1
        if words:
            comments[node.target.id] = " ".join(word.lstrip("# ") for word in words)
    return comments


def _default(field):
    value = field.default
    if value is dataclasses.MISSING:
        value = field.default_factory()
    return "null" if value is None else repr(value)


def _allowed(values):
    """Returns the allowed values of a field in words."""
    from mask_rcnn.config.checks import Choice, Items, Range, Text

    if isinstance(values, Items):
        each = _allowed(values.item)
        return f"each {each}" if each else ""
    if isinstance(values, Choice) and values.values != (True, False):
        return ", ".join(f"`{text}`" for text in values.values)
    if isinstance(values, Range):
        return str(values)
    assert values is None or isinstance(values, Choice | Text), values
    return ""


def _cell(text):
    return text.replace("|", r"\|").replace("<", "&lt;")


def names():
    """Returns the directives of mkdocstrings for the public names of `mask_rcnn`."""
    import mask_rcnn

    return "\n\n".join(f"::: {_identifier(*place)}" for place in mask_rcnn._PUBLIC.values())


def _identifier(module, name):
    """Returns the full name of an object. `load = Predictor.load` in a module is `...Predictor.load`."""
    full_name = f"mask_rcnn.{module}"
    path = importlib.util.find_spec(full_name).origin
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return f"{full_name}.{ast.unparse(node.value)}"
    return f"{full_name}.{name}"


GENERATORS = {"commands": commands, "config": config, "names": names}
