"""What a file is by its first bytes, where it is not what its name says: bytes -> a sentence, or None. Pure."""

START_BYTES = 256
_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
_LFS = b"version https://git-lfs"
_UTF8_MARK = b"\xef\xbb\xbf"
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def unlike_text(start: bytes) -> str | None:
    """Why a file is no UTF-8 text of its own, and the remedy; None where its first bytes do not say so."""
    if start.startswith((_GZIP, _ZIP, _PARQUET)):
        kind, fix = {
            _GZIP: ("compressed by gzip", "Unpack it with gunzip"),
            _ZIP: ("a zip archive", "Unpack it"),
            _PARQUET: ("Parquet", "Give it the ending .parquet"),
        }[next(magic for magic in (_GZIP, _ZIP, _PARQUET) if start.startswith(magic))]
        return f"found a file that is {kind}. {fix}."
    if b"\0" in start:
        return "found text in UTF-16 or UTF-32. Save it as UTF-8: iconv -f UTF-16 -t UTF-8."
    return _stand_in(start)


def unlike_parquet(start: bytes) -> str | None:
    """Why a file is no Parquet, and the remedy; None where its first bytes do not say so."""
    if start.startswith(_GZIP):
        return "found a file that is compressed by gzip. Unpack it with gunzip."
    return _stand_in(start)


def _stand_in(start: bytes) -> str | None:
    """What a download leaves in place of the file."""
    text = start.removeprefix(_UTF8_MARK).lstrip().lower()
    if text.startswith(_LFS):
        return "found a Git LFS pointer in place of the file. Fetch it: git lfs pull."
    if text.startswith(_PAGES):
        return "found a web page in place of the file. Download the file itself; it may need a login."
    return None
