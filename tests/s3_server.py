"""A real S3 server for tests: SeaweedFS on 127.0.0.1, whose keys must be right."""

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from inbol_ray.config.machines import StorageConfig

REGION = "us-east-1"
START_TIMEOUT_S = 60
NUM_STARTS = 3
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
_QUIET = (
    *("-master.telemetry=false", "-volume.max=0", "-master.volumeSizeLimitMB=64"),
    *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # fixed ports, so that a second server would not start
)


@dataclass(frozen=True)
class S3Server:
    """Where the server listens, and the one pair of keys that it accepts."""

    endpoint_url: str
    access_key: str
    secret_key: str

    @property
    def storage(self) -> StorageConfig:
        return StorageConfig(endpoint_url=self.endpoint_url, region=REGION)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that boto3's chain takes the keys from."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def client(self, **overrides):
        """A boto3 client with the right keys, unless overridden."""
        options = {
            "endpoint_url": self.endpoint_url,
            "region_name": REGION,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }
        return boto3.client("s3", **options | overrides)


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of one test's own; `uri` is `s3://name`."""

    server: S3Server
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    @property
    def storage(self) -> StorageConfig:
        return self.server.storage

    def upload(self, folder: Path, prefix: str = "") -> str:
        """Copy a local folder under `prefix`; returns its URI."""
        client = self.server.client()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = "/".join(part for part in (prefix, path.relative_to(folder).as_posix()) if part)
                client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())
        return f"{self.uri}/{prefix}" if prefix else self.uri


@contextlib.contextmanager
def run_s3_server(folder: Path) -> Iterator[S3Server]:
    """Start a server on free ports with its data under `folder`; stop it at the end."""
    access_key, secret_key = "test-access-key", secrets.token_hex(16)
    config = folder / "s3.json"
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    config.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    for attempt in range(NUM_STARTS):
        s3_port, s3_grpc, *ports = _free_ports(2 + len(_PORTS))
        command = [
            *(str(Path(sys.executable).with_name("weed")), "-logtostderr", "server", f"-dir={data}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}"),
            *(f"-s3.port={s3_port}", f"-s3.port.grpc={s3_grpc}"),
            *(f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=True)),
            *_QUIET,
        ]
        log = folder / f"weed-{attempt}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            server = S3Server(f"http://127.0.0.1:{s3_port}", access_key, secret_key)
            if _wait_until_ready(server, process, log):
                yield server
                return
        finally:
            process.kill()  # a graceful stop waits ten seconds for readers of data that nobody wants any more
            process.wait()
    raise RuntimeError(f"the S3 server ended by itself {NUM_STARTS} times:\n{log.read_text()[-3000:]}")


def _wait_until_ready(server: S3Server, process: subprocess.Popen, log: Path) -> bool:
    """Whether the server came up; it ends by itself where another process took one of its ports."""
    client = server.client()
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="probe", Body=b"x")
            return True
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start ({error}):\n{log.read_text()[-3000:]}") from error
            time.sleep(0.2)
    return False


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
