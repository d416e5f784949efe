from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prodkit.backup.manifest import Backup
from prodkit.backup.retention import expired

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def backups(*ages: str) -> list[Backup]:
    made = []
    for age in ages:
        created = NOW - timedelta(days=float(age.rstrip("V")))
        verified = created if age.endswith("V") else None
        made.append(Backup(Path(age), "d", created, 1, verified_at=verified))
    return made


@pytest.mark.parametrize(
    ("ages", "gone"),
    [
        (["1V", "2", "3V", "20V", "40V", "50", "60V"], ["60V", "50", "40V"]),
        (["1", "2", "40V", "50V", "60V", "70"], ["70"]),
        (["1", "40", "50", "60"], []),  # none is verified
        (["40", "50", "60", "70V"], []),  # nothing newer than the old ones was verified
        (["1V", "29", "31"], []),  # the newest three
        ([], []),
    ],
)
def test_what_goes(ages: list[str], gone: list[str]) -> None:
    found = expired(backups(*ages), now=NOW, days=30, keep=3)
    assert [str(backup.path) for backup in found] == gone


def test_bad_ones_never_evict_good_ones() -> None:
    bad = [f"{n}" for n in range(29)]
    assert expired(backups(*bad, "31V", "32V", "33V"), now=NOW, days=30, keep=3) == []
