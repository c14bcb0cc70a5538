import pyarrow.fs as pafs
import pytest

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import ConfigError
from inbol_ray.store.storage import open_filesystem


def test_a_local_path_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    filesystem, path = open_filesystem("runs/one", StorageConfig())
    assert isinstance(filesystem, pafs.LocalFileSystem)
    assert path == str(tmp_path / "runs/one")


def test_an_s3_uri_is_bucket_and_key(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    filesystem, path = open_filesystem("s3://bucket/a/b/", StorageConfig(endpoint_url="http://127.0.0.1:9000"))
    assert isinstance(filesystem, pafs.S3FileSystem)
    assert path == "bucket/a/b"


@pytest.mark.parametrize("uri", ["gs://bucket/a", "http://host/a", "s3:///a", "s3://bucket/a/../b"])
def test_other_uris_are_refused(uri):
    with pytest.raises(ConfigError, match=r"expected|'\.\.'"):
        open_filesystem(uri, StorageConfig())


def test_missing_credentials_are_named(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        open_filesystem("s3://bucket/a", StorageConfig())


def test_a_real_server_reads_back_what_was_written(s3_bucket, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file.bin").write_bytes(b"0123456789")
    filesystem, path = open_filesystem(s3_bucket.upload(tmp_path, "prefix"), s3_bucket.storage)
    with filesystem.open_input_file(f"{path}/a/file.bin") as file:
        file.seek(3)
        assert file.read(4) == b"3456"
    with filesystem.open_output_stream(f"{path}/b.bin") as file:
        file.write(b"new")
    names = {info.path for info in filesystem.get_file_info(pafs.FileSelector(path, recursive=True)) if info.is_file}
    assert names == {f"{path}/a/file.bin", f"{path}/b.bin"}


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_real_server_refuses_wrong_keys(s3_bucket, monkeypatch, name):
    monkeypatch.setenv(name, "wrong")
    filesystem, path = open_filesystem(s3_bucket.uri, s3_bucket.storage)
    with pytest.raises(OSError, match=r"(?i)access.denied|forbidden|invalid|does not match|SIGNATURE|403"):
        filesystem.get_file_info(pafs.FileSelector(path))
