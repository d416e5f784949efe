import dataclasses

import pytest

from prodkit import Check, CheckResult


def test_anything_with_a_name_and_a_check_is_a_check() -> None:
    class Disk:
        name = "disk"

        async def check(self) -> CheckResult:
            return CheckResult("up")

    class Nameless:
        async def check(self) -> CheckResult:
            return CheckResult("up")

    assert isinstance(Disk(), Check)
    assert not isinstance(Nameless(), Check)
    assert not isinstance(object(), Check)


def test_a_result_has_no_reason_and_no_details_by_default() -> None:
    assert CheckResult("up") == CheckResult("up", reason="", details={})
    assert CheckResult("up").details is not CheckResult("up").details


def test_a_result_cannot_be_changed_after_the_check() -> None:
    result = CheckResult("degraded", "the pool is full", {"waiting": 3})
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.status = "up"  # type: ignore[misc]
    assert dict(result.details) == {"waiting": 3}
