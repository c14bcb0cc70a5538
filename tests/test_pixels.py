"""Every pixel format becomes the picture that one sees: none is black or white by accident."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from inbol_ray.images import ImageError, decode_image, pixel_rule
from inbol_ray.pixels import PixelFormatError, to_rgb, without_metadata

RED, BLACK, WHITE = (255, 0, 0), (0, 0, 0), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes, rule: str = "white") -> list[tuple[int, ...]]:
    picture = decode_image(data, "picture", rule=rule)
    assert picture.mode == "RGB"
    return [picture.getpixel((column, row)) for row in range(picture.height) for column in range(picture.width)]


def two_by_two(mode: str, values: list) -> Image.Image:
    image = Image.new(mode, (2, 2))
    image.putdata(values)
    return image


def with_palette() -> Image.Image:
    image = two_by_two("P", [0, 1, 1, 0])
    image.putpalette([*BLACK, *RED])
    return image


ALPHA = two_by_two("RGBA", [(0, 0, 0, 255), (0, 0, 0, 0), (255, 0, 0, 128), (9, 9, 9, 0)])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(ALPHA), [BLACK, WHITE, (255, 127, 127), WHITE]),
        (encode(ALPHA, "WEBP", lossless=True, exact=True), [BLACK, WHITE, (255, 127, 127), WHITE]),
        (encode(two_by_two("LA", [(0, 255), (0, 0), (0, 0), (200, 255)])), [BLACK, WHITE, WHITE, (200, 200, 200)]),
        (encode(with_palette(), transparency=0), [WHITE, RED, RED, WHITE]),
        (encode(with_palette(), transparency=bytes([255, 0])), [BLACK, WHITE, WHITE, BLACK]),
        (encode(with_palette(), "GIF", transparency=0), [WHITE, RED, RED, WHITE]),
        (encode(two_by_two("L", [0, 9, 9, 200]), transparency=9), [BLACK, WHITE, WHITE, (200,) * 3]),
        (encode(two_by_two("RGB", [RED, BLACK, BLACK, RED]), transparency=BLACK), [RED, WHITE, WHITE, RED]),
    ],
)
def test_what_is_transparent_is_white(data, expected):
    assert pixels(data) == expected


def test_published_figures_were_made_with_what_lies_beneath():
    assert pixels(encode(ALPHA), "published") == [BLACK, BLACK, RED, (9, 9, 9)]
    assert pixels(encode(with_palette(), transparency=0), "published") == [BLACK, RED, RED, BLACK]


@pytest.mark.parametrize(
    ("row_id", "rule"),
    [
        ("own:train:7", "white"),
        ("mismatch:train:own_train_7+vqav2_train2014_1", "white"),
        ("generated:train:own_train_7", "white"),
        ("mismatch:train:vqav2_train2014_1+own_train_7", "published"),  # the image is the first one's
        ("mmmu:validation:validation_own_1", "published"),
    ],
)
def test_a_row_says_whose_picture_it_shows(row_id, rule):
    assert pixel_rule(row_id) == rule


def sixteen_bits(*values: int, **options) -> bytes:
    return encode(Image.fromarray(np.array(values, np.uint16).reshape(2, 2)), **options)


def test_sixteen_bits_of_grey_are_scaled():
    data = sixteen_bits(0, 257, 32_896, 65_535)
    assert Image.open(io.BytesIO(data)).mode == "I;16"
    assert pixels(data) == [BLACK, (1,) * 3, (128,) * 3, WHITE]
    assert pixels(data, "published") == [BLACK, WHITE, WHITE, WHITE]  # PIL cuts off at 255
    assert pixels(sixteen_bits(0, 257, 257, 65_535, transparency=0)) == [WHITE, (1,) * 3, (1,) * 3, WHITE]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_range_are_refused(mode):
    with pytest.raises(PixelFormatError, match=f"mode {mode}"):
        to_rgb(Image.new(mode, (1, 1), 7))


@pytest.mark.parametrize("mode", ["1", "L", "CMYK"])
def test_other_formats_keep_their_colours(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    colour = (0, 255, 255, 0) if mode == "CMYK" else 255
    (found,) = set(pixels(encode(Image.new(mode, (8, 8), colour), kind)))
    assert found == (RED if mode == "CMYK" else WHITE)


def test_an_unused_fourth_byte_hides_nothing():
    pixel = struct.pack("<4B", 0, 0, 255, 0)
    header = struct.pack("<IiiHHIIiiII4I", 108, 1, 1, 1, 32, 3, 4, 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = header.ljust(108, b"\0")
    data = b"BM" + struct.pack("<IHHI", 14 + 108 + 4, 0, 0, 14 + 108) + header + pixel
    assert Image.open(io.BytesIO(data)).mode == "RGBA"
    assert pixels(data) == [RED]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes, at_end: bool = False) -> bytes:
    data = encode(Image.new("RGB", (2, 2), RED))
    place = len(data) - 12 if at_end else 33  # before IEND, or after IHDR
    return data[:place] + chunk(name, content) + data[place:]


LARGE = zlib.compress(bytes(2 << 20))


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iCCP", b"profile\0\0" + LARGE),
        (b"iCCP", b"profile\0\7" + LARGE),  # a method of packing that does not exist
        (b"zTXt", b"Comment\0\0" + LARGE),
        (b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    ],
)
def test_metadata_keep_no_picture_from_being_read(name, content, at_end):
    assert set(pixels(with_chunk(name, content, at_end))) == {RED}


def test_metadata_are_left_out_alone():
    data = encode(Image.new("RGB", (2, 2), RED))
    assert without_metadata(with_chunk(b"tEXt", b"a\0b")) == data
    assert without_metadata(data) is None
    assert without_metadata(encode(Image.new("RGB", (2, 2)), "JPEG")) is None


def test_a_tag_that_cannot_be_written_again_keeps_no_picture_from_being_turned():
    """Orientation 6, and a width (tag 256) in bytes of no type."""
    tags = struct.pack(">H HHI4s HHI4s", 2, 274, 3, 1, b"\0\6\0\0", 256, 7, 1, b"\0\0\0\1")
    image = Image.new("RGB", (16, 8), WHITE)
    image.paste(RED, (0, 0, 8, 8))
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + tags + bytes(4)
    picture = to_rgb(Image.open(io.BytesIO(encode(image, "JPEG", exif=exif, quality=100, subsampling=0))))
    assert picture.size == (8, 16)
    assert picture.getpixel((0, 0))[1] < 50 and picture.getpixel((0, 15))[1] > 200  # the left is now at the top


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_picture_that_is_cut_off_is_refused(kind):
    data = encode(Image.effect_noise((64, 64), 90).convert("RGB"), kind)
    for rule in ("white", "published"):
        with pytest.raises(ImageError, match="cut"):
            decode_image(data[: len(data) // 2], "cut", rule=rule)
