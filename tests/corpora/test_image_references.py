"""From a reference to pixels: what is opened, what is refused, which way is up."""

import io
import random

import pytest
from corpus_writers import png, write
from PIL import Image

from inbol_ray import images
from inbol_ray.config.machines import StorageConfig
from inbol_ray.images import ImageError, decode_image, load_image, read_image_bytes
from inbol_ray.store.storage import open_reference, reference_to


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 1)), (3, (3, 2)), (6, (2, 0)), (8, (1, 3))])
def test_exif_says_which_way_is_up(orientation, corner):
    """A red pixel at the top left of a 4 x 2 picture; the short side is padded."""
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encode(image, exif=exif), "a")
    assert decoded.size == (4, 4)
    assert decoded.getpixel(corner) == (255, 0, 0)


def test_a_decompression_bomb_is_refused_by_its_header():
    data = encode(Image.new("1", (9_000, 9_000)))
    assert len(data) < 100_000
    with pytest.raises(ImageError, match="9000x9000"):
        decode_image(data, "bomb")


def test_damaged_files_are_image_errors_and_nothing_else():
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = [encode(Image.new("RGB", (9, 7)), kind) for kind in images.FORMATS]
    whole.append(encode(Image.new("RGB", (9, 7)), "JPEG", exif=exif))
    num_errors = 0
    for _ in range(400):
        data = bytearray(rng.choice(whole))
        if data[:2] == b"GI":  # its header claims sizes of which a third is below the limit and slow to make
            del data[-rng.randrange(1, 10) :]
        else:
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(40, len(data))] = rng.randrange(256)
        try:
            decode_image(bytes(data), "damaged")
        except ImageError:
            num_errors += 1
    assert num_errors > 20


def test_a_file_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", png())
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(png()) - 1)
    with pytest.raises(ImageError, match="exceed the limit"):
        read_image_bytes(path)


@pytest.mark.parametrize("suffix", ["", "#10:5", "#0:9999999"])
def test_what_is_not_there_is_an_image_error(tmp_path, suffix):
    write(tmp_path / "short.bin", b"12345")
    name = "short.bin" if suffix else "gone.png"
    with pytest.raises(ImageError, match=name):
        read_image_bytes(f"{tmp_path}/{name}{suffix}")


def test_a_reference_to_a_store_holds_all_but_the_keys(s3_bucket, tmp_path):
    uri = f"{s3_bucket.upload(tmp_path, 'p')}/odd name?#é.png"
    write(tmp_path / "odd name?#é.png", png())
    s3_bucket.upload(tmp_path, "p")
    reference = reference_to(uri, s3_bucket.storage)
    assert s3_bucket.server.secret_key not in reference and " " not in reference
    assert load_image(reference).size == (4, 4)
    assert open_reference(reference)[1] == f"{s3_bucket.name}/p/odd name?#é.png"
    missing = reference_to(f"{s3_bucket.uri}/gone.png", s3_bucket.storage)
    with pytest.raises(ImageError, match="cannot read"):
        read_image_bytes(missing)


def test_a_local_reference_is_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reference_to("a?b.png", StorageConfig()) == str(tmp_path / "a?b.png")
    write(tmp_path / "a?b.png", png())
    assert load_image(str(tmp_path / "a?b.png")).size == (4, 4)
