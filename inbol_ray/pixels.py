"""From any pixel format to 8-bit RGB: an image as its file holds it -> the same picture as `RGB`. Pure functions.

PIL's own `convert("RGB")` drops transparency, so that what lies beneath shows (mostly black), and cuts 16-bit grey off
at 255, so that nearly all of it is white. `published` keeps just that, since published figures were made with it;
`white` is for pictures of one's own.
"""

import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

PixelRule = Literal["white", "published"]

WHITE = (255, 255, 255)
_EIGHT_BITS = frozenset({"1", "L", "P", "RGB", "RGBA", "LA", "PA", "La", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"})
_SIXTEEN_BITS_GREY = "I;16"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = frozenset({b"iCCP", b"tEXt", b"zTXt", b"iTXt"})


class PixelFormatError(ValueError):
    """Pixels that nobody has said how to show."""


def to_rgb(image: Image.Image, rule: PixelRule = "white") -> Image.Image:
    """RGB picture, upright by EXIF. `published` is PIL's conversion as it is.

    `white` lays what is transparent (alpha, or a colour or palette entry that the file names) on white and scales
    16-bit grey so that 65,535 is white. CMYK and the like are converted without their colour profile, as PIL does.
    Raises PixelFormatError for whole numbers or fractions without a range (modes I and F), which `published` would cut
    off.
    """
    image.load()  # a file that is cut off is found here
    is_bmp = image.format == "BMP"
    image = _upright(image)
    if rule == "published":
        return image.convert("RGB")
    if image.mode.startswith(_SIXTEEN_BITS_GREY):
        return _from_sixteen_bits(image)
    if image.mode not in _EIGHT_BITS:
        raise PixelFormatError(f"pixels of PIL's mode {image.mode}, whose black and white are not known")
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    if is_bmp and seen.getextrema()[3] == (0, 0):  # programs that leave its fourth byte unused
        return image.convert("RGB")
    return _on_white(seen.convert("RGB"), seen.getchannel("A"))


def without_metadata(png: bytes) -> bytes | None:
    """The PNG without colour profile and texts, which no pixel depends on; None where it is no PNG or has none of them.

    PIL refuses a picture whose metadata unpack to more than a megabyte, or are damaged.
    """
    if not png.startswith(_PNG_SIGNATURE):
        return None
    chunks = list(_png_chunks(png))
    kept = [png[start:end] for name, start, end in chunks if name not in _PNG_METADATA]
    return _PNG_SIGNATURE + b"".join(kept) if len(kept) < len(chunks) else None


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of each chunk; the last one may be cut off."""
    start = len(_PNG_SIGNATURE)
    while start + 8 <= len(png):
        length, name = struct.unpack_from(">I4s", png, start)
        end = min(start + 12 + length, len(png))
        yield name, start, end
        start = end


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF or XMP say. Not `ImageOps.exif_transpose`, which also writes the EXIF anew and so
    fails on tags that nobody needs."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged EXIF: PIL raises anything, and the pixels are whole
        turn = None
    return image if turn is None else image.transpose(turn)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    hidden = image.info.get("transparency")
    if not isinstance(hidden, int):
        return grey
    return _on_white(grey, Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))


def _on_white(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    return Image.composite(picture, Image.new("RGB", picture.size, WHITE), alpha)
