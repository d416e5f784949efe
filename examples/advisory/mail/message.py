"""A mail, independent of its transport, and its two kinds of failure."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Protocol

from prodkit.core.check import CheckResult
from prodkit.errors import InvalidError, UnavailableError

__all__ = ["Mail", "MailError", "MailRefusedError", "Mailer", "composed"]


class MailError(UnavailableError):
    """The mail server did not take the mail; later it may."""


class MailRefusedError(InvalidError):
    """The mail server will never take this mail, for instance because there is no such mailbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail in plain text. Its text may hold a link that signs in: it is never logged."""

    to: str
    subject: str
    text: str

    def __repr__(self) -> str:
        return f"Mail(subject={self.subject!r}, {len(self.text)} characters)"


class Mailer(Protocol):
    """The way out for mail."""

    name: str

    async def send(self, mail: Mail) -> None:
        """Hand `mail` over. Raises MailError when that may work later, and MailRefusedError when it never will."""
        ...

    async def check(self) -> CheckResult:
        """The state for the health report."""
        ...


def composed(mail: Mail, sender: str) -> EmailMessage:
    """The message with the headers of an automatic mail."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    return message
