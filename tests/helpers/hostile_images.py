"""Damaged and hostile image files, the same in each run."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MODES = {
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "PNG": ("1", "L", "P", "RGB", "RGBA", "LA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA", "LA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("L", "P", "RGB", "RGBA", "LA"),
}
SIZES = ((0, 5), (5, 0), (1, 60000), (20000, 20000), (60000, 60000), (2**31 - 1, 2**31 - 1))
PNG_START = b"\x89PNG\r\n\x1a\n"


def hostile_files(seed=0, large=True):
    """Yields (kind, name, contents) of at least 300 files.

    Args:
        seed: Seed of the damages.
        large: Whether to include files that take a second or much memory to create or decode.
    """
    makers = (_whole, _options, _truncated, _flipped, _lying, _foreign, _polyglots, _exif, _metadata)
    for make in (*makers, *((_large_lying, _bombs) if large else ())):
        for name, contents in make(random.Random(seed)):
            yield make.__name__[1:], name, contents


def picture(height=61, width=83, mode="RGB"):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 30, (height, width))
    image = Image.fromarray(np.stack([y * 3, x * 2, 200 - y - x + noise], axis=-1).astype("uint8"))
    return image.quantize(16) if mode == "P" else image.convert(mode)


def encode(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _base_files():
    """Yields (format, contents) of the files that are damaged."""
    for file_format in FORMATS:
        yield file_format, encode(picture(), file_format)
    yield "JPEG", encode(picture(), "JPEG", progressive=True)
    yield "JPEG", encode(picture(mode="CMYK"), "JPEG")
    yield "PNG", encode(picture(mode="P"), "PNG", transparency=bytes(range(16)))
    yield "GIF", encode(picture(mode="P"), "GIF", save_all=True, append_images=[picture(mode="L")])
    yield "WEBP", encode(picture(mode="RGBA"), "WEBP", lossless=True)


def _whole(rng):
    for file_format in FORMATS:
        for mode in MODES[file_format]:
            yield f"{mode}.{file_format.lower()}", encode(picture(mode=mode), file_format)


def _options(rng):
    frames = [picture(mode=mode) for mode in ("L", "P", "RGB")]
    for file_format in ("GIF", "WEBP", "PNG"):
        yield f"animated.{file_format}", encode(frames[2], file_format, save_all=True, append_images=frames)
    yield "pair.mpo", encode(frames[2], "MPO", save_all=True, append_images=[frames[2]])
    yield "progressive.jpg", encode(picture(), "JPEG", progressive=True)
    yield "sampled.jpg", encode(picture(), "JPEG", subsampling=0)
    yield "comment.jpg", encode(picture(), "JPEG", comment=b"\x1b[31m" * 100)
    yield "profile.jpg", encode(picture(), "JPEG", icc_profile=bytes(200_000))
    for bits in (1, 2, 4):
        yield f"{bits}.png", encode(picture().quantize(2**bits), "PNG", bits=bits)
    yield "transparent.gif", encode(picture(mode="P"), "GIF", transparency=3)
    yield "deep.png", encode(Image.fromarray(np.arange(4800, dtype="uint16").reshape(60, 80) * 13), "PNG")


def _truncated(rng):
    for number, (file_format, contents) in enumerate(_base_files()):
        for cut in [0, 1, 5, 20, *(rng.randrange(len(contents)) for _ in range(5))]:
            yield f"{number}-{cut}.{file_format.lower()}", contents[:cut]


def _flipped(rng):
    for number, (file_format, contents) in enumerate(_base_files()):
        for turn in range(10):
            damaged = bytearray(contents)
            for _ in range(rng.choice((1, 1, 3, 30))):
                place = rng.randrange(rng.choice((64, len(contents))))
                damaged[place] = rng.randrange(256)
            yield f"{number}-{turn}.{file_format.lower()}", bytes(damaged)


def _lying(rng):
    """Yields files whose headers declare sizes that the content does not have."""
    for size in SIZES:
        yield from _lies(*size)


def _large_lying(rng):
    """Yields such files with sizes below the limit."""
    yield from _lies(13000, 13000)


def _lies(height, width):
    jpeg = {
        name: encode(picture(), "JPEG", progressive=name == "progressive")
        for name in ("plain", "progressive")
    }
    gif, bmp = (encode(picture(mode="P"), file_format) for file_format in ("GIF", "BMP"))
    webp, still = encode(picture(), "WEBP"), encode(picture(), "WEBP", lossless=True)
    png = encode(picture(), "PNG")
    small = (min(height, 65535), min(width, 65535))
    name = f"{height}x{width}"
    yield f"{name}.png", png[:16] + _ihdr(height, width, png[24:29]) + png[33:]
    yield f"{name}.bmp", bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]
    yield f"{name}-up.bmp", bmp[:18] + struct.pack("<ii", width, -height) + bmp[26:]
    yield f"{name}-screen.gif", gif[:6] + struct.pack("<HH", *small[::-1]) + gif[10:]
    frame = gif.index(b",", 13 + 48)
    yield f"{name}-frame.gif", gif[: frame + 5] + struct.pack("<HH", *small[::-1]) + gif[frame + 9 :]
    for kind, contents in jpeg.items():
        start = contents.index(b"\xff\xc2" if kind == "progressive" else b"\xff\xc0")
        yield (
            f"{name}-{kind}.jpg",
            contents[: start + 5] + struct.pack(">HH", *small) + contents[start + 9 :],
        )
    sides = struct.pack("<HH", min(width, 16383), min(height, 16383))
    yield f"{name}.webp", webp[:26] + sides + webp[30:]
    bits = (max(min(width, 16384) - 1, 0) | max(min(height, 16384) - 1, 0) << 14).to_bytes(4, "little")
    yield f"{name}-lossless.webp", still[:21] + bits + still[25:]


def _ihdr(height, width, rest):
    data = struct.pack(">II", width, height) + rest
    return data + struct.pack(">I", zlib.crc32(b"IHDR" + data))


def _foreign(rng):
    for name in ("a.jpg", "b.png", "c.gif", "d.bmp", "e.webp"):
        yield name, rng.randbytes(2000)
        yield f"text-{name}", b"no image, only text\n" * 100
        yield f"zeros-{name}", bytes(5000)
    magics = (b"\xff\xd8\xff", PNG_START, b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X")
    for number, magic in enumerate(magics):
        for turn in range(4):
            yield f"random-{number}-{turn}.jpg", magic + rng.randbytes(rng.choice((0, 3, 40, 3000)))
    for file_format, suffix in zip(FORMATS, ("png", "gif", "bmp", "webp", "jpg"), strict=True):
        yield f"other.{suffix}", encode(picture(), file_format)
    for file_format in ("TIFF", "ICO", "PPM", "TGA", "PDF"):
        yield f"{file_format}.png", encode(picture(), file_format)
    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>"


def _polyglots(rng):
    script, archive = b"*/=1;alert(1)//" * 50, b"PK\x03\x04" + rng.randbytes(3000)
    for file_format in FORMATS:
        contents = encode(picture(), file_format)
        yield f"archive.{file_format}", contents + archive
        yield f"script.{file_format}", contents + script
        yield f"twice.{file_format}", contents + encode(picture(20, 20), "JPEG")
        yield f"before.{file_format}", b"\n" + contents


def _exif(rng):
    def tiff(entries, count=None, offset=8, order="<"):
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset)
        body = struct.pack(order + "H", len(entries) if count is None else count)
        return b"Exif\0\0" + head + body + b"".join(struct.pack(order + "HHIHH", *entry) for entry in entries)

    for orientation in (0, 1, 3, 6, 8, 9, 255, 65535):
        for order in "<>":
            data = tiff([(0x0112, 3, 1, orientation, 0)], order=order)
            yield f"{orientation}-{ord(order)}.jpg", encode(picture(), "JPEG", exif=data)
    for name, data in {
        "beyond": tiff([], offset=2**31),
        "itself": tiff([], offset=0),
        "many": tiff([(0x0112, 3, 1, 6, 0)], count=65535),
        "huge": tiff([(0x0112, 3, 1, 6, 0)] + [(0x9000, 2, 60000, 0, 0)] * 5000),
        "short": b"Exif\0\0II*\0",
        "none": b"Exif\0\0",
        "random": b"Exif\0\0" + rng.randbytes(60000),
    }.items():
        yield f"{name}.jpg", encode(picture(), "JPEG", exif=data)
        yield f"{name}.png", encode(picture(), "PNG", exif=data)
        yield f"{name}.webp", encode(picture(), "WEBP", exif=data)
    contents = encode(picture(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0" + bytes(65527)
    yield "segments.jpg", contents[:2] + segment * 100 + contents[2:]


def _metadata(rng):
    """Yields files whose comments, profiles or chunks are invalid, or large after decompression."""
    png = encode(picture(), "PNG")
    bomb = zlib.compress(bytes(100_000_000), 9)
    for name, chunk in {
        "text": png_chunk(b"zTXt", b"Comment\0\0" + bomb),
        "profile": png_chunk(b"iCCP", b"icc\0\0" + bomb),
        "exif": png_chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb),
        "animation": png_chunk(b"acTL", bytes(8)),
        "frames": png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        "unknown": png_chunk(b"aAAA", bytes(50)),
        "critical": png_chunk(b"AAAA", bytes(50)),
        "header": png[8:33],
        "many": png_chunk(b"tEXt", b"a\0b") * 5000,
    }.items():
        yield f"{name}.png", png[:33] + chunk + png[33:]
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    yield "xmp.png", encode(picture(), "PNG", pnginfo=info)
    end = png.index(b"IEND") - 4
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "late-exif.png", png[:end] + png_chunk(b"eXIf", exif.tobytes()[6:]) + png[end:]
    yield "no-end.png", png[:end]
    yield "no-data.png", png[:33] + png[end:]


def _bombs(rng):
    """Yields valid files of many pixels and few bytes."""
    limit, ImageFile.MAXBLOCK = ImageFile.MAXBLOCK, 1 << 24
    try:
        yield "13000.png", encode(Image.new("1", (14000, 13000)), "PNG")
        yield "13000-gray.jpg", encode(Image.new("L", (14000, 13000)), "JPEG")
        yield "13000.gif", encode(Image.new("L", (14000, 13000)), "GIF")
        yield "8000.gif", encode(Image.new("L", (12000, 8000)), "GIF")
        yield "8000.png", encode(Image.new("RGB", (12000, 8000)), "PNG")
        yield "8000.webp", encode(Image.new("RGB", (12000, 8000)), "WEBP", lossless=True, method=0)
        yield "8000.bmp", encode(Image.new("1", (12000, 8000)), "BMP")
        yield "8000-progressive.jpg", encode(Image.new("L", (12000, 8000)), "JPEG", progressive=True)
        yield "20000.png", encode(Image.new("1", (20000, 20000)), "PNG")
    finally:
        ImageFile.MAXBLOCK = limit
    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(3 * 50000 + 1)) for _ in range(50000)) + rows.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0))
    yield "50000.png", PNG_START + header + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
