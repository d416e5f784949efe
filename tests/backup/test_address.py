from __future__ import annotations

import stat
from pathlib import Path

import pytest

from prodkit.backup.address import Address
from prodkit.errors import BackupError


def test_programs_learn_the_address_from_their_environment(tmp_path: Path) -> None:
    url = r"postgresql://ana%40x:p%3Aw%5Cd@db1:5433,[::1]/shop%20two?sslmode=require&application_name=x"
    address = Address.of(url)
    assert (address.database, address.password, address.needs_tls) == ("shop two", "p:w\\d", True)
    with address.environment() as environment:
        assert environment["PGHOST"] == "db1,::1"
        assert environment["PGPORT"] == "5433,5432"
        assert environment["PGUSER"] == "ana@x"
        assert environment["PGDATABASE"] == "shop two"
        assert environment["PGSSLMODE"] == "require"
        assert "PGPASSWORD" not in environment
        file = Path(environment["PGPASSFILE"])
        assert file.read_text() == "*:*:*:*:p\\:w\\\\d\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


def test_no_password_in_its_words() -> None:
    address = Address.of("postgresql://u:p%40ss@h/d")
    assert address.clean("auth failed for p@ss and p%40ss") == "auth failed for *** and ***"
    assert "p@ss" not in repr(address)
    assert address.named("other").url == "postgresql://u:p%40ss@h/other"


@pytest.mark.parametrize("url", ["", "mysql://h/d", "postgresql://h", "postgresql://[h/d"])
def test_an_address_without_a_database_is_refused(url: str) -> None:
    with pytest.raises(BackupError, match="address"):
        Address.of(url)
