"""Who computes an artifact: one process at a time, on a folder that all share or on an S3-compatible store.

A folder has a file lock, which dies with its owner. A store has an object that its owner renews: one that was not
renewed for `lease_s` may be taken over. Both only spare double work; what makes double work safe is that an artifact's
files lie apart for each attempt and its manifest is put once (`artifacts.Store`).
"""

import fcntl
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

LEASE_S = 120.0
POLL_S = 5.0


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait for the lock and hold it; the operating system frees it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of `file_lock`."""
    try:
        with open(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def is_leased(client, bucket: str, key: str, *, lease_s: float = LEASE_S) -> bool:
    """Whether the lease object was renewed within the last `lease_s`."""
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _status(error) == 404:
            return False
        raise
    return _age_s(head) < lease_s


@contextmanager
def object_lease(client, bucket: str, key: str, *, lease_s: float = LEASE_S, poll_s: float = POLL_S) -> Iterator[None]:
    """Wait for the lease object `key` of an S3 bucket and hold it, renewing it four times a `lease_s`.

    A holder that finds its lease taken, because it slept for too long, stops itself with SIGTERM.
    """
    lease = _Lease(client, bucket, key, lease_s)
    while not lease.take():
        time.sleep(poll_s)
    stop = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(stop,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        stop.set()
        renewing.join()
        lease.give_back()


class _Lease:
    def __init__(self, client, bucket: str, key: str, lease_s: float) -> None:
        self._client, self._where, self._lease_s = client, {"Bucket": bucket, "Key": key}, lease_s
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._etag: str | None = None

    def take(self) -> bool:
        """One attempt: the object is put if there is none, or in place of one that nobody renewed."""
        if self._put(IfNoneMatch="*"):
            return True
        try:
            head = self._client.head_object(**self._where)
        except ClientError as error:
            if _status(error) == 404:  # given back a moment ago
                return self._put(IfNoneMatch="*")
            raise
        if _age_s(head) < self._lease_s:
            return False
        return self._put(IfMatch=head["ETag"])

    def renew_until(self, stop: threading.Event) -> None:
        renewed = time.monotonic()
        while not stop.wait(self._lease_s / 4):
            try:
                if not self._put(IfMatch=self._etag):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                renewed = time.monotonic()
            except (BotoCoreError, ClientError):
                if time.monotonic() - renewed > self._lease_s:
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    def give_back(self) -> None:
        try:
            self._client.delete_object(**self._where, IfMatch=self._etag)
        except ClientError as error:
            if _status(error) not in (404, 412):
                raise

    def _put(self, **condition: str) -> bool:
        # The time makes every body, and so every ETag, another.
        body = f"{self._owner} {datetime.now(UTC).isoformat()}".encode()
        try:
            self._etag = self._client.put_object(**self._where, Body=body, **condition)["ETag"]
        except ClientError as error:
            if _status(error) in (404, 409, 412):
                return False
            raise
        return True


def put_once(client, bucket: str, key: str, body: bytes) -> bool:
    """Put an object unless there is one; whether it was put."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if _status(error) in (409, 412):
            return False
        raise
    return True


def _age_s(head: dict) -> float:
    # Both times are the store's: the clocks of two machines may differ by more than a lease.
    now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
    return (now - head["LastModified"]).total_seconds()


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
