from __future__ import annotations

import pytest

from prodkit.postgres.address import Host, parse


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p@h/d", (Host("h", None),)),
        ("postgresql://u:p@h1:1,h2:2/d?target_session_attrs=primary", (Host("h1", 1), Host("h2", 2))),
        ("postgresql://u:p@[::1]:5433/d", (Host("::1", 5433),)),
        ("postgresql:///d?host=/run/postgresql", (Host("/run/postgresql", None),)),
        ("postgresql:///d?host=a,b&port=1,2", (Host("a", 1), Host("b", 2))),
        ("postgresql:///d", ()),
    ],
)
def test_hosts(dsn: str, hosts: tuple[Host, ...]) -> None:
    address = parse(dsn)
    assert not address.problem
    assert address.hosts == hosts


@pytest.mark.parametrize(
    ("dsn", "problem"),
    [
        ("postgresql://u:p@h:99999/d", "port must be a number from 1 to 65535"),
        ("postgresql://u:p@h:hunter2/d", "port must be"),
        ("postgresql://u:hunter#2@h/d", "# in the user name or password must be percent-encoded"),
        ("postgresql://u:hunter@2@h/d", "@ in the user name or password must be percent-encoded"),
        ("postgresql://u:hunter/2@h/d", "/ in the user name or password must be percent-encoded"),
        ("postgresql://u:hunter?2@h/d", "? in the user name or password must be percent-encoded"),
        ("postgresql+asyncpg://u:hunter2@h/d", "without a driver"),
        ("hunter2", "must begin with postgresql://"),
        ("postgresql://u:p@h/d?sslmode=hunter2", "sslmode must be one of"),
        ("postgresql://u:p@h/d?sslrootcert=/hunter2.crt", "sslrootcert names a file that does not exist"),
        ("postgresql://u:p@h/d?target_session_attrs=hunter2", "target_session_attrs must be one of"),
        ("postgresql://u:p@[hunter2/d", "host"),
    ],
)
def test_mistakes_are_named_without_a_piece_of_the_address(dsn: str, problem: str) -> None:
    found = parse(dsn).problem
    assert problem in found
    assert "hunter" not in found


def test_a_mode_that_needs_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    assert "needs sslrootcert=FILE" in parse("postgresql://u:p@h/d?sslmode=verify-full").problem
