"""Sending mail: one interface, a mail server in production, a directory in the demo and in development."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from advisory.mail.message import Mail, Mailer, MailError, MailRefusedError
from advisory.mail.outbox import Outbox

if TYPE_CHECKING:
    import prodkit as pk
    from advisory.settings import Settings
    from prodkit.policies.shared_state import SharedState

__all__ = ["Mail", "MailError", "MailRefusedError", "Mailer", "Outbox", "mailer_of"]


def mailer_of(settings: Settings, runtime: pk.Runtime, *, shared: SharedState | None = None) -> Mailer | None:
    """The mailer that ``MAIL_URL`` names, or None: the app then offers nothing that needs mail."""
    if settings.mail_url is None:
        return None
    url = settings.mail_url.reveal()
    if url.startswith("file:"):
        return Outbox(unquote(urlsplit(url).path), sender=settings.mail_from)
    from advisory.mail.smtp import SmtpMailer

    return SmtpMailer(url, sender=settings.mail_from, shared=shared, runtime=runtime)
