from __future__ import annotations

import pytest

from prodkit import backup
from prodkit.env import Secret


@pytest.mark.parametrize(
    "url", ["", "s3://", "https://bucket", "/backups", "s3://key:secret@bucket", "s3://b?x=1"]
)
def test_what_is_no_bucket(url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket") as problem:
        backup.Bucket(url)
    assert "secret" not in str(problem.value)


def test_plain_http_is_for_this_machine() -> None:
    with pytest.raises(ValueError, match="https"):
        backup.Bucket("s3://bucket", endpoint="http://s3.example.com")
    backup.Bucket("s3://bucket", endpoint="http://127.0.0.1:9000")
    backup.Bucket("s3://bucket", endpoint="http://s3.example.com", allow_http=True)


def test_plain_http_in_the_environment_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example.com")
    with pytest.raises(ValueError, match="https"):
        backup.Bucket("s3://bucket")


def test_one_half_of_the_keys_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="secret_key"):
        backup.Bucket("s3://bucket", access_key="k", timeout=0)


def test_it_shows_no_secret() -> None:
    bucket = backup.Bucket("s3://bucket/folder/", access_key="k", secret_key=Secret("hunter2-hunter2"))
    assert repr(bucket) == "Bucket('s3://bucket/folder')"
    assert "hunter2" not in repr(vars(bucket).get("url"))


@pytest.mark.parametrize("region", ["", "eu-west-1"])
def test_an_empty_address_in_the_environment_is_that_of_aws(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    config = backup.Bucket("s3://bucket")._opened().config
    place = region or "us-east-1"
    assert (config.get("region"), config.get("endpoint")) == (place, f"https://s3.{place}.amazonaws.com")
    given = backup.Bucket("s3://bucket", endpoint="https://s3.example.com")._opened().config
    assert given.get("endpoint") == "https://s3.example.com"
