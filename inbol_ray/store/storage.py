"""Where a path or URI leads: one function for local folders and S3-compatible stores."""

import os
import posixpath
import time
import uuid
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import ConfigError

S3_SCHEME = "s3"
_KEYS_LIVE_S = 900
"""Keys are asked for again this often: those of a role or a session expire while a job runs."""


def is_remote(uri: str) -> bool:
    return uri.startswith(f"{S3_SCHEME}://")


def open_filesystem(uri: str, storage: StorageConfig) -> tuple[pafs.FileSystem, str]:
    """(filesystem, path in it) of a local path or of `s3://bucket/key`; a local path comes back absolute.

    Credentials come from boto3's chain (environment, shared files, SSO, instance role), not from the configuration.
    Raises ConfigError for another scheme, a missing bucket, `..` in a key, or an S3 path without credentials.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(uri)
    parts = urlsplit(uri)
    if parts.scheme != S3_SCHEME or not parts.netloc:
        raise ConfigError(f"{uri!r}: expected a local path or s3://bucket/prefix")
    key = uri.removeprefix(f"{S3_SCHEME}://{parts.netloc}").strip("/")
    if ".." in key.split("/"):
        raise ConfigError(f"{uri!r}: found '..' in an S3 path; write the path out")
    return _s3_filesystem(storage, int(time.monotonic() / _KEYS_LIVE_S)), f"{parts.netloc}/{key}".rstrip("/")


def reference_to(uri: str, storage: StorageConfig) -> str:
    """A reference to a file that any process can open without the configuration: what `Question.images` holds.

    Local: the absolute path. S3: the URI, quoted, with the store as its query,
    `s3://bucket/key?endpoint_url=http%3A%2F%2Fminio%3A9000&region=eu-1`. It holds no keys.
    """
    if not is_remote(uri):
        return os.path.abspath(uri)
    store = {name: value for name, value in storage.model_dump().items() if value is not None}
    return f"{S3_SCHEME}://{quote(uri.removeprefix(f'{S3_SCHEME}://'))}" + (f"?{urlencode(store)}" if store else "")


def open_reference(reference: str) -> tuple[pafs.FileSystem, str]:
    """(filesystem, path in it) of what `reference_to` made. Raises ConfigError as `open_filesystem` does."""
    if not is_remote(reference):
        return open_filesystem(reference, StorageConfig())
    uri, _, store = reference.partition("?")
    return open_filesystem(unquote(uri), StorageConfig(**dict(parse_qsl(store))))


def create_folder(filesystem: pafs.FileSystem, path: str) -> None:
    """Make a local folder and those above it. A store needs none, and an empty one there would outlive its files."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(path, recursive=True)


def write_whole(filesystem: pafs.FileSystem, path: str, data: pa.Buffer | bytes) -> None:
    """Write a file that is there complete or not at all, whenever the writer dies; replaces an older one.

    Local: a hidden file, then a rename. S3: an object appears when its upload ends.
    """
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with filesystem.open_output_stream(path) as file:
            file.write(data)
        return
    partial = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.{uuid.uuid4().hex}.partial")
    with filesystem.open_output_stream(partial) as file:
        file.write(data)
    filesystem.move(partial, path)


def delete_folder(uri: str, storage: StorageConfig) -> None:
    """Remove a folder and what is in it, if it is there."""
    filesystem, path = open_filesystem(uri, storage)
    if filesystem.get_file_info(path).type == pafs.FileType.Directory:
        filesystem.delete_dir(path)


def open_s3_client(storage: StorageConfig):
    """A boto3 client, for what pyarrow cannot do: conditional writes. It is thread-safe, but cannot be pickled.

    Raises ConfigError without credentials.
    """
    return _s3_session(storage).client("s3", endpoint_url=storage.endpoint_url)


@lru_cache(maxsize=4)
def _s3_filesystem(storage: StorageConfig, period: int) -> pafs.S3FileSystem:
    """One connection pool a store; `period` only makes it new from time to time."""
    session = _s3_session(storage)
    keys = session.get_credentials().get_frozen_credentials()
    endpoint = urlsplit(storage.endpoint_url or "")
    return pafs.S3FileSystem(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        session_token=keys.token,
        region=session.region_name or "us-east-1",
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
    )


def _s3_session(storage: StorageConfig):
    import boto3

    session = boto3.Session(region_name=storage.region)
    if session.get_credentials() is None:
        raise ConfigError("no S3 credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile")
    return session
