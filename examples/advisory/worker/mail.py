"""Mails as durable jobs: an outage of the mail server delays them and loses none."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from loguru import logger

from advisory.mail import Mailer, MailRefusedError
from advisory.mail.texts import password_changed, recovery
from advisory.store.recoveries import LIFETIME, Recoveries
from advisory.store.users import Users
from prodkit import jobs, postgres
from prodkit.policies import upward

__all__ = ["GIVEN_UP_AFTER", "Mails"]

GIVEN_UP_AFTER: Final = 86400.0
"""Seconds: who waits for a link for longer than a day has asked again."""
_ATTEMPTS: Final = 2000


class Mails:
    """The jobs that send mail.

    The link of a recovery is made when it is sent, so that no table ever holds it, and its time begins then. The same
    job is queued for an address without an account: a visitor sees no difference, in text or in time.
    """

    def __init__(self, db: postgres.Pool, mailer: Mailer | None, *, public_url: str) -> None:
        self._mailer = mailer
        self._users = Users(db)
        self._recoveries = Recoveries(db)
        self._url = public_url.rstrip("/")
        self.recovery: jobs.Job[[str], None] = self._job(self.send_recovery, "mail.recovery")
        self.changed: jobs.Job[[str], None] = self._job(self.send_changed, "mail.password_changed")

    @property
    def enabled(self) -> bool:
        """Return True when this deployment sends mail."""
        return self._mailer is not None

    def all(self) -> list[jobs.Job[..., Any]]:
        """The jobs, for the worker."""
        return [self.recovery, self.changed]

    def _job(self, fn: Any, name: str) -> jobs.Job[[str], None]:
        made: jobs.Job[[str], None] = jobs.Job(
            fn, name=name, attempts=_ATTEMPTS, backoff=upward(2.0, cap=60.0), timeout=60.0, concurrency=4
        )
        return made.using(deadline=GIVEN_UP_AFTER)

    async def send_recovery(self, email: str) -> None:
        """Send the way back to an account, if the address has one."""
        found = await self._users.with_hash(email)
        if found is None or self._mailer is None:
            return
        user, _ = found
        link = f"{self._url}/recuperar/nova?codigo={quote(await self._recoveries.issue(user.id))}"
        minutes = int(LIFETIME.total_seconds() // 60)
        await self._send(recovery(to=user.email, name=user.name, link=link, minutes=minutes))

    async def send_changed(self, email: str) -> None:
        """Warn the owner of an account that its password is another one."""
        found = await self._users.with_hash(email)
        if found is not None:
            await self._send(password_changed(to=found[0].email, name=found[0].name))

    async def _send(self, mail: Any) -> None:
        if self._mailer is None:
            return
        try:
            await self._mailer.send(mail)
        except MailRefusedError:
            logger.warning("the mail server refused a mail for good: {}", mail.subject)
