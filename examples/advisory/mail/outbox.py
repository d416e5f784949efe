"""Mails as files in a directory, for the demo and for development: several processes write, a page shows them."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Final

from advisory.mail.message import Mail, composed
from prodkit.core.check import CheckResult

__all__ = ["Letter", "Outbox"]

_KEPT: Final = 50


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that was sent."""

    to: str
    subject: str
    text: str
    at: datetime


class Outbox:
    """Write each mail to `directory`, readable by this user only, and keep the newest fifty."""

    name = "mail"

    def __init__(self, directory: str | Path, *, sender: str) -> None:
        self.directory = Path(directory)
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        await asyncio.to_thread(self._write, composed(mail, self._sender).as_bytes(policy=policy.SMTP))

    async def check(self) -> CheckResult:
        return CheckResult("up")

    def letters(self) -> list[Letter]:
        """The mails, newest first."""
        found: list[Letter] = []
        for path in self._paths():
            read = message_from_bytes(path.read_bytes(), policy=policy.default)
            body = read.get_body(("plain",))
            at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            text = "" if body is None else str(body.get_content())
            found.append(Letter(str(read["To"]), str(read["Subject"]), text, at))
        return found

    def _write(self, content: bytes) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        part = self.directory / f"{name}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        part.rename(self.directory / f"{name}.eml")
        for old in self._paths()[_KEPT:]:
            old.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.eml"), reverse=True)
