"""Tests that text from files cannot send control sequences to a terminal."""

import ast
import io
from pathlib import Path

import pytest

import mask_rcnn
from mask_rcnn.system.terminal import print_line, printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("żółw 猫 👩\u200d🚀", "żółw 猫 👩\u200d🚀"),  # some scripts need the zero-width joiner
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),  # a single character that terminals interpret as ESC [
        ("a\rb\x08c\x7f", r"a\rb\x08c\x7f"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("\udcff.jpg", r"\udcff.jpg"),  # the byte 0xff in a file name
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown


def test_names_have_no_line_breaks_where_none_are_allowed():
    assert printable("a\nb", allowed="") == r"a\nb"


def test_every_character_of_the_c0_and_c1_sets_is_escaped():
    for code in (*range(32), *range(127, 160)):
        if chr(code) not in "\n\t":
            assert printable(chr(code)).isprintable()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_say_works_in_every_encoding(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_line("猫 \x1b[2J", file=stream)
    shown = stream.buffer.getvalue().decode(encoding)
    assert shown == ("猫 \\x1b[2J\n" if encoding == "utf-8" else "\\u732b \\x1b[2J\n")


def test_commands_and_training_print_through_say():
    package = Path(mask_rcnn.__file__).parent
    calls = [
        f"{path.name}:{node.lineno}"
        for folder in ("cli", "training")
        for path in (package / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "print"
    ]
    assert not calls


def test_markup_in_a_path_is_no_markup(monkeypatch, capsys):
    from mask_rcnn.cli.model_tables import print_entry, print_list
    from mask_rcnn.model_zoo.registry import ENTRIES

    monkeypatch.setenv("MASK_RCNN_HOME", "/tmp/a[/red]b\x1b[2J")
    print_list(ENTRIES.values())
    print_entry(next(iter(ENTRIES.values())))
    shown = "".join(capsys.readouterr().out.split())
    assert shown.count(r"a[/red]b\x1b[2J") == 2 and "\x1b" not in shown
