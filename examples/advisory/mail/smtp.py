"""Mail through a server: TLS, a time limit and a breaker."""

from __future__ import annotations

import ipaddress
import ssl
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

import prodkit as pk
from advisory.mail.message import Mail, MailError, MailRefusedError, composed
from prodkit.core.check import CheckResult

if TYPE_CHECKING:
    from prodkit.policies.shared_state import SharedState

__all__ = ["SmtpMailer"]

LIMIT: Final = 20.0
"""Seconds for one mail, the connection and TLS included."""
OPEN_FOR: Final = 30.0


class SmtpMailer:
    """Send each mail over a connection of its own.

    ``smtps://`` speaks TLS from the first byte (port 465). ``smtp://`` begins in plain text and must be upgraded
    (STARTTLS, port 587) before anything is said, except to a server on this very machine. Certificates are verified.
    """

    name = "mail"

    def __init__(
        self,
        url: str,
        *,
        sender: str,
        tls: ssl.SSLContext | None = None,
        limit: float = LIMIT,
        shared: SharedState | None = None,
        runtime: pk.Runtime | None = None,
    ) -> None:
        runtime = runtime or pk.Runtime()
        parts = urlsplit(url)
        self._host = parts.hostname or "localhost"
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._tls else 587)
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._context = tls
        self._sender = sender
        self._limit = limit
        self.breaker = pk.CircuitBreaker(
            "mail", failures=5, open_for=OPEN_FOR, ignore=MailRefusedError, shared=shared, runtime=runtime
        )
        self._guarded = pk.Pipeline(self.breaker, pk.Timeout(limit), runtime=runtime)

    async def send(self, mail: Mail) -> None:
        await self._guarded.run(self._deliver, composed(mail, self._sender))

    async def check(self) -> CheckResult:
        return await self.breaker.check()

    async def _deliver(self, message: EmailMessage) -> None:
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                username=self._user,
                password=self._password,
                use_tls=self._tls,
                start_tls=None if self._tls or _is_local(self._host) else True,
                tls_context=self._context,
                timeout=self._limit,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(500 <= each.code < 600 for each in error.recipients):
                raise MailRefusedError("the mail server refused the recipient") from None
            raise MailError("the mail server refused the recipient for now") from None
        except aiosmtplib.SMTPDataError as error:
            if 500 <= error.code < 600:
                raise MailRefusedError(f"the mail server refused the mail ({error.code})") from None
            raise MailError(f"the mail server refused the mail for now ({error.code})") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            # Without the server's words: they may hold the recipient's address.
            raise MailError(f"the mail could not be sent ({type(error).__name__})") from None

    def __repr__(self) -> str:
        return f"SmtpMailer({self._host}:{self._port})"


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
