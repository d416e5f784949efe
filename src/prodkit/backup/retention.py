"""Decide which backups may go. Pure.

With ``days=30, keep=3``, newest first (V: verified)::

    age    1V   2    3V   20V   40V   50   60V
           keep keep keep keep  go    go   go      four are younger than 30 days, three of them verified
    age    1    2    40V  50V   60V   70
           keep keep keep keep  keep  go           the newest three verified stay, however old
    age    1    40   50   60
           keep keep keep keep                     none is verified: nothing shows that a newer one is good
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from prodkit.backup.manifest import Backup

__all__ = ["expired"]


def expired(backups: Sequence[Backup], *, now: datetime, days: float, keep: int) -> list[Backup]:
    """Return the backups that may be removed, the oldest first.

    Only what is older than `days` goes, only where a newer one was verified, and never one of the newest `keep` that
    were verified, nor one of the newest `keep` in all: a run of bad backups cannot evict the good ones.

    Args:
        backups: complete ones.
        now: the instant.
        days: age in days.
        keep: how many of each kind stay whatever their age.
    """
    newest = sorted(backups, key=lambda backup: backup.created_at, reverse=True)
    kept = {backup.path for backup in newest[:keep]}
    proven = [each for each in newest if each.verified]
    if not proven:
        return []
    kept |= {backup.path for backup in proven[: max(keep, 1)]}
    limit = now - timedelta(days=days)
    return [
        backup
        for backup in reversed(newest)
        if backup.created_at < min(limit, proven[0].created_at) and backup.path not in kept
    ]
