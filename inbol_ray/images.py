"""The one path from an image reference to pixels, shared by sampling, training, evaluation and serving.

reference (what `storage.reference_to` made, or `path#offset:length` for a byte range of a larger file)
    -> bytes -> square RGB `PIL.Image`

How pixels become RGB is `pixels.to_rgb`'s; pictures of published corpora keep the rule that their published figures
were made with (`pixel_rule`). Images come from outside: the pixel count is checked in the header before anything is
decoded, only the formats below are opened, and every fault becomes an `ImageError` that names the reference.
"""

import io
import re
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

from inbol_ray.errors import InbolError
from inbol_ray.pixels import PixelRule, to_rgb, without_metadata
from inbol_ray.rows import shows_own_image
from inbol_ray.store.storage import open_reference

MAX_IMAGE_BYTES = 64 << 20
"""Largest accepted image file."""
MAX_PIXELS = 64_000_000
"""Largest accepted image, as the pixels of the square that it is padded to; the supported corpora stay well below."""
MAX_IMAGES = 1
"""Of a question: engines are set up for so many, and readers reject what has more."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
IMAGES_VERSION = 3
"""Goes up when the same file becomes other pixels: what a model knows, and how sure it is, was measured on these."""
Colour = tuple[int, int, int]
CLIP_COLOUR: Colour = (122, 116, 104)
"""What LLaVA-1.5 pads with (`image_aspect_ratio=pad`): `pad_colour` of CLIP's mean."""

_BYTE_RANGE = re.compile(r"^(?P<path>.+)#(?P<offset>\d+):(?P<length>\d+)$")


class ImageError(InbolError, ValueError):
    """An image that cannot be used; the message names it and says why."""


def read_image_bytes(reference: str) -> bytes:
    """Encoded bytes of an image. Raises ImageError when the file or range is missing or empty."""
    match = _BYTE_RANGE.match(reference)
    path, offset, length = (
        (match["path"], int(match["offset"]), int(match["length"])) if match else (reference, 0, None)
    )
    try:
        filesystem, path = open_reference(path)
        with filesystem.open_input_file(path) as file:
            size = file.size()
            wanted = size if length is None else length
            if wanted > MAX_IMAGE_BYTES:
                raise ImageError(
                    f"{reference}: {wanted} bytes exceed the limit of {MAX_IMAGE_BYTES}; downscale the image"
                )
            data = file.read_at(wanted, offset) if offset + wanted <= size else b""
    except OSError as error:
        reason = error.strerror or error
        raise ImageError(f"{reference}: cannot read the image file ({reason}); check the corpus root") from None
    if not data:
        raise ImageError(f"{reference}: the image file is empty or shorter than its reference says")
    return data


def pad_colour(image_processor) -> Colour:
    """A Hugging Face image processor's mean in 8 bits, cut off as LLaVA cuts it (llava/mm_utils.py, process_images).

    transformers' LlavaImageProcessor pads with the same colour, so that an exported checkpoint sees what ours saw.
    """
    red, green, blue = (int(value * 255) for value in image_processor.image_mean)
    return red, green, blue


def checkpoint_pad_colour(checkpoint: str) -> Colour:
    """`pad_colour` of a checkpoint, a folder or a hub name. Raises OSError or ValueError where it has no processor."""
    from transformers import AutoImageProcessor

    return pad_colour(AutoImageProcessor.from_pretrained(checkpoint, trust_remote_code=False))


def pixel_rule(row_id: str) -> PixelRule:
    """The rule for the pictures of a row: `white` for the user's own corpus, `published` for all others."""
    return "white" if shows_own_image(row_id) else "published"


def decode_image(
    data: bytes,
    name: str,
    colour: Colour = CLIP_COLOUR,
    *,
    rule: PixelRule = "white",
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Encoded bytes -> square RGB image, upright by EXIF and padded with `colour`, the model's own (`pad_colour`).

    Padding, not cropping: a crop can remove the very thing that a question asks about, which would turn an answerable
    question into an unanswerable one. Processors of the hub's llava-hf checkpoints crop, so it is done before them; the
    ones that training exports pad alike, and leave a square as it is. Raises ImageError on any malformed or oversized
    input.
    """
    try:
        image = to_rgb(open_image(data, name, max_pixels=max_pixels), rule)
    except ImageError:
        raise
    except Exception as error:  # on hostile bytes a decoder raises anything, struct.error and KeyError among it
        if (bare := without_metadata(data)) is not None:
            return decode_image(bare, name, colour, rule=rule, max_pixels=max_pixels)
        raise _unreadable(name, error) from None
    width, height = image.size
    if width == height:
        return image
    side = max(image.size)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def open_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Encoded bytes -> image whose header is read and whose pixels are not. Raises ImageError."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:
        if (bare := without_metadata(data)) is not None:
            return open_image(bare, name, max_pixels=max_pixels)
        raise _unreadable(name, error) from None
    width, height = image.size
    if max(width, height) ** 2 > max_pixels:  # a strip of 64 million x 1 would be padded to 4e15 pixels
        raise ImageError(
            f"{name}: {width}x{height} pixels, padded to a square, exceed the limit of {max_pixels}; "
            "downscale the image"
        )
    return image


def load_image(reference: str, colour: Colour = CLIP_COLOUR, rule: PixelRule = "white") -> Image.Image:
    """`decode_image` of a reference. Raises ImageError."""
    return decode_image(read_image_bytes(reference), reference, colour, rule=rule)


def load_images(
    references: Sequence[str], colour: Colour = CLIP_COLOUR, rule: PixelRule = "white"
) -> list[Image.Image]:
    return [load_image(reference, colour, rule) for reference in references]


def _unreadable(name: str, error: Exception) -> ImageError:
    # The text of PIL's own error is the address of our buffer.
    why = "" if isinstance(error, UnidentifiedImageError) else f" ({type(error).__name__}: {error})"
    return ImageError(f"{name}: not a readable image{why}; expected one of {', '.join(FORMATS)}")
