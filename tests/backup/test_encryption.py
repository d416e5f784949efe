"""Encryption with age: there and back, wrong keys, damage, and errors without a key in them."""

from __future__ import annotations

import errno
import io
import stat
from pathlib import Path

import pytest

from prodkit.backup.encryption import decrypt, encrypt
from prodkit.core.secrets import Secret
from prodkit.errors import BackupError

pyrage = pytest.importorskip("pyrage")
BODY = bytes(range(256)) * 1000


class Key:
    def __init__(self) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.private, self.public = str(identity), str(identity.to_public())


def encrypted(folder: Path, *keys: Key) -> Path:
    target = folder / "a.age"
    with target.open("wb") as file:
        encrypt(io.BytesIO(BODY), file, [key.public for key in keys])
    assert BODY[:64] not in target.read_bytes()
    return target


def test_each_recipient_can_read_it(tmp_path: Path) -> None:
    first, second = Key(), Key()
    source = encrypted(tmp_path, first, second)
    for key in (first, second):
        target = tmp_path / "plain"
        decrypt(source, target, Secret(key.private))
        assert target.read_bytes() == BODY
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        target.unlink()


def test_a_key_file_may_hold_comments_and_several_keys(tmp_path: Path) -> None:
    key = Key()
    source = encrypted(tmp_path, key)
    decrypt(source, tmp_path / "plain", f"# made today\n{Key().private}\n{key.private}\n")
    assert (tmp_path / "plain").read_bytes() == BODY


@pytest.mark.parametrize("recipient", ["age1nonsense", "ssh-ed25519 nonsense", "AGE-SECRET-KEY-1QQQQSECRET"])
def test_a_recipient_that_is_no_key_is_named_by_its_beginning(recipient: str) -> None:
    with pytest.raises(BackupError, match="not an age recipient") as caught:
        encrypt(io.BytesIO(BODY), io.BytesIO(), [Key().public, recipient])
    assert recipient not in str(caught.value)


def test_without_a_key(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"a\.age is encrypted.*identity="):
        decrypt(encrypted(tmp_path, Key()), tmp_path / "plain", None)
    assert not (tmp_path / "plain").exists()


def test_another_key(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"a\.age cannot be decrypted"):
        decrypt(encrypted(tmp_path, Key()), tmp_path / "plain", Key().private)


@pytest.mark.parametrize("text", ["AGE-SECRET-KEY-1NONSENSE", "", "made-up-private-text"])
def test_what_is_no_key_is_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(BackupError, match="not a private age key") as caught:
        decrypt(encrypted(tmp_path, Key()), tmp_path / "plain", text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    key = Key()
    source = encrypted(tmp_path, key)
    body = bytearray(source.read_bytes())
    body[-5] ^= 1
    source.write_bytes({"cut": bytes(body[: len(body) // 2]), "flipped": bytes(body), "empty": b""}[damage])
    with pytest.raises(BackupError, match="cannot be decrypted"):
        decrypt(source, tmp_path / "plain", key.private)


def test_a_full_disk_is_not_called_damage(tmp_path: Path) -> None:
    key = Key()
    source = encrypted(tmp_path, key)
    with pytest.raises(OSError) as caught:
        decrypt(source, Path("/dev/full"), key.private)
    assert caught.value.errno == errno.ENOSPC
