"""The limits of a service with accounts, uploads and language models behind it.

The figures are those of the application that prodkit was made for. Login is guarded twice, by account against
guessing one person's password and by address against trying one password on many people; both go into one
check. Login and registration count locally while Redis is away: letting everybody through would invite
exactly the attack that the limit is there for. What costs money counts too.
"""

from __future__ import annotations

from typing import Final

from prodkit.ratelimit.limit import Limit

__all__ = ["AUTO_CLONE", "COUNCIL", "ENRICHMENT", "LOGIN", "LOGIN_IP", "REGISTER", "UPLOAD"]

LOGIN: Final = Limit("5/15 min", name="login")
LOGIN_IP: Final = Limit("5/15 min", name="login-ip")
REGISTER: Final = Limit("3/hour", name="register")
COUNCIL: Final = Limit("10/hour", name="council")
ENRICHMENT: Final = Limit("3/day", name="enrichment")
AUTO_CLONE: Final = Limit("5/day", name="auto-clone")
UPLOAD: Final = Limit("10/hour", name="upload")
