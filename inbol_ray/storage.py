"""Where a path or URI leads: one function for local folders and S3-compatible stores."""

import os
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from inbol_ray.config.schema import StorageConfig
from inbol_ray.errors import ConfigError

S3_SCHEME = "s3"


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
    return _s3_filesystem(uri, storage), f"{parts.netloc}/{key}".rstrip("/")


def open_s3_client(storage: StorageConfig):
    """A boto3 client, for what pyarrow cannot do: conditional writes. It is thread-safe, but cannot be pickled."""
    import boto3

    return boto3.Session(region_name=storage.region).client("s3", endpoint_url=storage.endpoint_url)


def _s3_filesystem(uri: str, storage: StorageConfig) -> pafs.S3FileSystem:
    import boto3

    session = boto3.Session(region_name=storage.region)
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigError(
            f"{uri}: no S3 credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
        )
    keys = credentials.get_frozen_credentials()
    endpoint = urlsplit(storage.endpoint_url or "")
    return pafs.S3FileSystem(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        session_token=keys.token,
        region=session.region_name or "us-east-1",
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
    )
