"""Limits that most services with accounts and uploads need.

Login is guarded twice: by account against guessing one person's password, and by address against trying one
password on many accounts; both go into one check. Login and registration are counted in the process while Redis is
away, because admitting every caller would invite the attack that the limit is there to stop.
"""

from __future__ import annotations

from typing import Final

from prodkit.ratelimit.limit import Limit

__all__ = ["LOGIN", "LOGIN_IP", "REGISTER", "UPLOAD"]

LOGIN: Final = Limit("5/15 min", name="login")
LOGIN_IP: Final = Limit("5/15 min", name="login-ip")
REGISTER: Final = Limit("3/hour", name="register")
UPLOAD: Final = Limit("10/hour", name="upload")
