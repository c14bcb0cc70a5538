"""COCO's image names: one number for a picture, whatever the year of the release that a corpus names it after."""

import re

_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{12})\.[A-Za-z]+")


def image_id_in(path: str) -> int | None:
    """The number in `COCO_val2014_000000000042.jpg` or `000000000042.jpg`, below any folder; None in other names."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return int(match[1]) if match else None
