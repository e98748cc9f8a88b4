"""Tests of class names in any script: drawn where a font has the letters, escaped elsewhere."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import features

from mask_rcnn.structures import Category, Detections
from mask_rcnn.visualization import fonts
from mask_rcnn.visualization.drawing import draw

MATPLOTLIB_FONTS = Path(importlib.util.find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
DEJAVU = str(MATPLOTLIB_FONTS / "DejaVuSans.ttf")
NAMES = ("cat", "żółw", "größe", "Ёлка", "кот", "пёс", "γάτα", "猫", "狗", "고양이", "قطة", "🌰")


@pytest.fixture
def warnings(monkeypatch):
    """The warnings on a machine that has no fonts except those of matplotlib and Pillow."""
    logged = []
    monkeypatch.setattr(fonts.logging, "warning", lambda message, *values: logged.append(message % values))
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    for cached in (fonts.label_names, fonts._system_fonts):
        cached.cache_clear()
    yield logged
    for cached in (fonts.label_names, fonts._system_fonts):
        cached.cache_clear()


def drawn(name, **options):
    detections = Detections([[60, 20, 180, 200]], [0.9], [1], (200, 220))
    image = np.full((200, 220, 3), 120, "uint8")
    return draw(image, detections, [Category(1, name), Category(2, "x")], scores=False, **options)


def test_every_name_looks_different(warnings):
    pictures = {drawn(name).tobytes() for name in NAMES}
    assert len(pictures) == len(NAMES)


def test_names_without_font_are_escaped_and_reported_once(warnings):
    categories = tuple(Category(number, name) for number, name in enumerate(NAMES, start=1))
    for _ in range(2):
        labels = dict(zip(NAMES, fonts.label_names(categories), strict=True))
    assert labels["cat"] == ("cat", fonts.BUILT_IN)
    assert labels["żółw"] == ("żółw", DEJAVU)
    assert labels["猫"][0] == r"\u732b" and labels["🌰"][0] == r"\U0001f330"
    (warning,) = warnings
    assert "letters of 4 of 12 class names" in warning and r"猫 as \u732b" in warning and "--font" in warning


def test_a_font_is_known_to_have_the_characters_of_its_table():
    table = pytest.importorskip("fontTools.ttLib").TTFont(DEJAVU).getBestCmap()
    some = [*range(0x21, 0x250), *range(0x370, 0x530, 5), *range(0x600, 0x6FF, 7), *range(0x4E00, 0x9000, 97)]
    for code in some:
        character = chr(code)
        if character.isprintable() and not character.isspace():
            assert fonts._has_character(DEJAVU, character) == (code in table), hex(code)


@pytest.mark.parametrize("text", ["żółw", "猫", "Ж"])
def test_the_plain_font_is_not_used_for_what_it_draws_as_an_empty_box(text):
    assert not fonts.can_draw(fonts.BUILT_IN, text)


def test_a_given_font_is_used_first(warnings):
    serif = str(MATPLOTLIB_FONTS / "DejaVuSerif.ttf")
    assert fonts.label_names((Category(1, "cat"),), serif) == (("cat", serif),)
    assert not np.array_equal(drawn("cat"), drawn("cat", font=serif))


def test_a_wrong_font_is_named(tmp_path):
    (tmp_path / "no.ttf").write_bytes(b"no font")
    for path in (tmp_path / "no.ttf", tmp_path / "absent.ttf"):
        with pytest.raises(ValueError, match=rf"Expected a TrueType.*{path.name}.*\.ttf"):
            drawn("cat", font=path)


def test_scripts_that_need_a_layout_engine_are_escaped_without_one(warnings, monkeypatch):
    assert fonts.can_draw(DEJAVU, "قطة") == features.check("raqm")
    monkeypatch.setattr(fonts.features, "check", lambda name: False)
    ((text, _),) = fonts.label_names((Category(1, "قطة"),))
    assert text == r"\u0642\u0637\u0629"
    assert not fonts.can_draw(DEJAVU, "हिन्दी")


@pytest.mark.parametrize("name", ["two\nlines", "tab\t", "\x1b[31mred", "\u202egpj", "", "\ud800"])
def test_control_characters_are_escaped(warnings, name):
    ((text, _),) = fonts.label_names((Category(1, name),))
    assert text.isprintable()
    drawn(name)


def test_long_names_are_cut_and_stay_different(warnings):
    long = tuple(Category(number, "traffic sign " * 20 + str(number)) for number in (3, 4))
    (first, _), (second, _) = fonts.label_names(long)
    assert first.startswith("#3 traffic sign") and len(first) <= fonts.MAX_CHARACTERS and first != second


def test_a_name_wider_than_the_image_is_cut_instead_of_left_out(warnings):
    detections = Detections([[30, 5, 90, 75]], [0.9], [1], (100, 80))
    image = np.full((100, 80, 3), 120, "uint8")
    categories = (Category(1, "a pedestrian with a dog"), Category(2, "x"))
    assert not np.array_equal(draw(image, detections, categories, boxes=False), image)
