"""Selects fonts for class names in any script, and escapes the characters that no font can draw."""

import functools
import importlib.util
import unicodedata
from pathlib import Path

from absl import logging
from PIL import Image, ImageDraw, ImageFont, features

from mask_rcnn.structures import Category
from mask_rcnn.system.terminal import printable

SYSTEM_FOLDERS = (
    "~/.local/share/fonts",
    "~/.fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
SUFFIXES = (".ttf", ".ttc", ".otf")
UNWANTED = ("lastresort", "adobeblank")  # these draw a placeholder, or nothing, for every character
BUILT_IN = None  # path that stands for Pillow's built-in font, which has only ASCII characters

PROBE_SIZE = 16  # pixels
PROBE_SPACE = 3 * PROBE_SIZE
# Never a character (Unicode, section 23.7). Fonts draw their glyph for missing characters.
NO_CHARACTER = "\U0001fffe"

MAX_CHARACTERS = 40  # of a name in a picture
MAX_EXAMPLES = 3  # names in the warning
RIGHT_TO_LEFT = ("R", "AL")  # classes of Unicode's bidirectional algorithm
# Scripts whose letters change with their neighbors: Indian scripts up to Sinhala, Tibetan, Myanmar, Khmer.
SHAPED_BLOCKS = ((0x0900, 0x0DFF), (0x0F00, 0x109F), (0x1780, 0x17FF))


@functools.cache
def label_names(
    categories: tuple[Category, ...], font: str | Path | None = None
) -> tuple[tuple[str, str | Path | None], ...]:
    """Returns the text and the font to write the name of each category in a picture.

    Logs one warning if no font can draw some of the names.

    Args:
        categories: Tuple of K `Category`.
        font: Path of a font that is tried first. Defaults to None.

    Returns:
        Tuple of K tuples (text, path of a font for `open_font`). Characters that the font of a name does not
        have are escaped, for example `\\u732b`. A long name is shortened and begins with its category id.

    Raises:
        ValueError: If `font` is not a scalable font file.
    """
    if font is not None:
        _check_font(font)
    names = {category.name: printable(category.name, allowed="") for category in categories}
    fonts = _find_fonts(set(names.values()), font)
    missing = [name for name in names.values() if name not in fonts]
    if missing:
        shown = ", ".join(f"{name} as {_escaped(name, font)[0]}" for name in missing[:MAX_EXAMPLES])
        logging.warning(
            "No font has all letters of %d of %d class names, which are written as code points: %s. "
            "Give a font that has them (`font=`, --font FILE).",
            len(missing),
            len(categories),
            shown,
        )
    return tuple(_label(category.id, names[category.name], fonts=fonts, font=font) for category in categories)


@functools.lru_cache(maxsize=64)
def open_font(path: str | Path | None, size: int) -> ImageFont.FreeTypeFont:
    """Returns a Pillow font.

    Args:
        path: Path of a font file. None is Pillow's built-in font.
        size: Font size, pixels.
    """
    if path is BUILT_IN:
        return ImageFont.load_default(size)  # pyright: ignore[reportReturnType], scalable with FreeType
    return ImageFont.truetype(str(path), size)


def _label(category_id, name, *, fonts, font):
    text, path = (name, fonts[name]) if name in fonts else _escaped(name, font)
    if len(text) > MAX_CHARACTERS:
        text = f"#{category_id} {text[: MAX_CHARACTERS - 10]}..."
    return text, path


def _check_font(font):
    try:
        open_font(font, PROBE_SIZE)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected a TrueType or OpenType font. Received: font={str(font)!r} ({error}). "
            "Give the path of a scalable .ttf, .otf or .ttc file."
        ) from error


def _find_fonts(names, font):
    """Returns `{name: path of the first font that has all of its characters}`. Omits names without a font."""
    font_paths, remaining = {}, set(names)
    for path in _candidates(font):
        drawable = {name for name in remaining if can_draw(path, name)}
        font_paths |= dict.fromkeys(drawable, path)
        remaining -= drawable
        if not remaining:
            break
    return font_paths


def _candidates(font):
    """Yields the paths of fonts in the order in which they are tried."""
    yield from _base_fonts(font)
    yield from _system_fonts()


def _base_fonts(font):
    matplotlib = importlib.util.find_spec("matplotlib")
    origin = matplotlib and matplotlib.origin
    bundled = origin and Path(origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    return [*([font] if font else []), BUILT_IN, *([str(bundled)] if bundled and bundled.is_file() else [])]


@functools.cache
def _system_fonts():
    """Returns the paths of the fonts of this machine, upright sans-serif fonts of regular weight first."""
    paths = [
        path
        for folder in SYSTEM_FOLDERS
        for path in sorted(Path(folder).expanduser().rglob("*"))
        if path.suffix.lower() in SUFFIXES and not any(name in path.stem.lower() for name in UNWANTED)
    ]

    def unlikeliness(path):
        name = path.stem.lower()
        unusual = ("bold", "italic", "oblique", "light", "thin", "mono", "serif", "condensed", "black")
        return sum(word in name.replace("sansserif", "") for word in unusual), "sans" not in name, len(name)

    return tuple(map(str, sorted(paths, key=unlikeliness)))


def can_draw(path: str | Path | None, text: str) -> bool:
    """Returns whether a font has all characters of a text and Pillow can lay out its script.

    Args:
        path: Path of a font for `open_font`.
        text: String.
    """
    if _needs_shaping(text) and not features.check("raqm"):
        return False
    return all(_has_character(path, character) for character in text)


def _needs_shaping(text):
    return any(
        unicodedata.bidirectional(character) in RIGHT_TO_LEFT
        or any(first <= ord(character) <= last for first, last in SHAPED_BLOCKS)
        for character in text
    )


@functools.cache
def _has_character(path, character):
    """Returns whether a font has a character: whether its glyph differs from that of a missing character."""
    if character.isspace() or unicodedata.category(character) == "Cf":  # not drawn, for example joiners
        return True
    try:
        # The layout engine raqm would add a dotted circle to a combining mark.
        font = open_font(path, PROBE_SIZE).font_variant(layout_engine=ImageFont.Layout.BASIC)
        pixels = _rendered(font, character)
        return any(pixels) and pixels != _rendered(font, NO_CHARACTER)
    except (OSError, ValueError):  # a bitmap font without this size, or a damaged font
        return False


def _rendered(font, character):
    picture = Image.new("L", (PROBE_SPACE, PROBE_SPACE))
    ImageDraw.Draw(picture).text((PROBE_SIZE, PROBE_SIZE // 2), character, fill=255, font=font)
    return picture.tobytes()


def _escaped(name, font):
    """Returns a name with escaped characters, and the path of the font that needs the fewest escapes."""
    bases = _base_fonts(font)
    complex_script = _needs_shaping(name) and not features.check("raqm")
    can_render = {
        path: [c.isascii() if complex_script else _has_character(path, c) for c in name] for path in bases
    }
    path = max(bases, key=lambda path: sum(can_render[path]))
    escaped = (
        character if known else character.encode("unicode_escape").decode("ascii")
        for character, known in zip(name, can_render[path], strict=True)
    )
    return "".join(escaped), path
