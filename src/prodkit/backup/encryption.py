"""Encrypt backups with age, so that who reads the disk does not read the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import BackupError, MissingExtraError

__all__ = ["decrypt", "encrypt"]


def _pyrage() -> Any:
    try:
        import pyrage
    except ModuleNotFoundError as error:
        if error.name != "pyrage":
            raise
        raise MissingExtraError.named("pyrage", "backup") from None
    return pyrage


def encrypt(source: Any, target: Any, recipients: Sequence[str]) -> None:
    """Encrypt everything that `source` reads into `target`.

    Args:
        source: a reader.
        target: a writer.
        recipients: public keys, ``age1…`` or ``ssh-ed25519 …``.

    Raises:
        BackupError: a recipient is not a key.
    """
    pyrage = _pyrage()
    keys = []
    for recipient in recipients:
        try:
            kind = pyrage.ssh if recipient.startswith("ssh-") else pyrage.x25519
            keys.append(kind.Recipient.from_str(recipient))
        except pyrage.RecipientError:
            raise BackupError(f"not an age recipient: {recipient[:8]}…") from None
    pyrage.encrypt_io(source, target, keys)


def decrypt(source: Path, target: Path, identity: str | Revealable | None) -> None:
    """Decrypt a backup into a new file. Blocks.

    Args:
        source: the encrypted backup.
        target: the file to write; made with mode 0600.
        identity: a private key, ``AGE-SECRET-KEY-1…``, or the text of an OpenSSH key.

    Raises:
        BackupError: there is no key, or not the right one, or the file is damaged.
    """
    if identity is None:
        raise BackupError(f"{source.name} is encrypted: give the private key as identity=")
    pyrage = _pyrage()
    text = reveal(identity)
    lines = [line.strip() for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-")]
    target.touch(mode=0o600)
    try:
        keys = (
            [pyrage.x25519.Identity.from_str(line) for line in lines]
            if lines
            else [pyrage.ssh.Identity.from_buffer(text.encode())]
        )
    except pyrage.IdentityError:
        raise BackupError("the identity is not a private age key") from None
    try:
        with source.open("rb") as encrypted, target.open("wb") as plain:
            pyrage.decrypt_io(encrypted, plain, keys)
    except (pyrage.DecryptError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # of the disk; damage behind the header is an OSError of pyrage without a number
        raise BackupError(
            f"{source.name} cannot be decrypted: the key is another one, or it is damaged"
        ) from None
