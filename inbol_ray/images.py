"""The one path from an image reference to pixels, shared by sampling, training, evaluation and serving.

reference (path or `s3://` URI, or `path#offset:length` for a byte range of a larger file) -> bytes -> square RGB `PIL.Image`

Images come from outside: the pixel count is checked in the header before anything is decoded, only the formats below
are opened, and every fault becomes an `ImageError` that names the reference.
"""

import io
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import BinaryIO

import pyarrow.fs as pafs
from PIL import Image, ImageOps, UnidentifiedImageError

from inbol_ray.errors import InbolError
from inbol_ray.local_copies import job_storage
from inbol_ray.storage import S3_SCHEME, is_remote, open_filesystem

MAX_PIXELS = 64_000_000
"""Largest accepted width x height; the largest image of the supported corpora has under 30 million."""
CONNECTION_S = 600
"""A connection to a store is opened anew after this time, so that session keys are never old."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
PAD_COLOUR = (123, 117, 104)
"""CLIP's mean colour in 8 bits: what LLaVA-1.5 pads with (`image_aspect_ratio=pad`)."""

_BYTE_RANGE = re.compile(r"^(?P<path>.+)#(?P<offset>\d+):(?P<length>\d+)$")


class ImageError(InbolError, ValueError):
    """An image that cannot be used; the message names it and says why."""


def read_image_bytes(reference: str) -> bytes:
    """Encoded bytes of an image. Raises ImageError when the file or range is missing or empty."""
    match = _BYTE_RANGE.match(reference)
    path = match["path"] if match else reference
    try:
        with _open(path) as file:
            if not match:
                data = file.read()
            else:
                file.seek(int(match["offset"]))
                data = file.read(int(match["length"]))
    except OSError as error:
        raise ImageError(f"{reference}: cannot read the image file ({error.strerror}); check the corpus root") from None
    if not data or (match and len(data) < int(match["length"])):
        raise ImageError(f"{reference}: the image file is empty or shorter than its reference says")
    return data


def _open(path: str) -> BinaryIO:
    if not is_remote(path):
        return open(path, "rb")
    filesystem = _open_store(path.split("/")[2], int(time.monotonic() // CONNECTION_S))
    return filesystem.open_input_file(path.removeprefix(f"{S3_SCHEME}://"))


@lru_cache(maxsize=8)
def _open_store(bucket: str, _period: int) -> pafs.FileSystem:
    return open_filesystem(f"{S3_SCHEME}://{bucket}", job_storage())[0]


def decode_image(data: bytes, name: str) -> Image.Image:
    """Encoded bytes -> square RGB image, upright by EXIF and padded with CLIP's mean colour.

    Padding, not cropping: a crop can remove the very thing that a question asks about, which would turn an answerable
    question into an unanswerable one. Raises ImageError on any malformed or oversized input.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError(f"{name}: {width}x{height} pixels exceed the limit of {MAX_PIXELS}; downscale the image")
        image = ImageOps.exif_transpose(image).convert("RGB")
    except ImageError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{name}: not a readable image ({type(error).__name__}: {error}); expected one of {', '.join(FORMATS)}"
        ) from None
    if width == height:
        return image
    side = max(image.size)
    square = Image.new("RGB", (side, side), PAD_COLOUR)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def load_image(reference: str) -> Image.Image:
    """`decode_image` of a reference. Raises ImageError."""
    return decode_image(read_image_bytes(reference), reference)


def load_images(references: Sequence[str]) -> list[Image.Image]:
    return [load_image(reference) for reference in references]
