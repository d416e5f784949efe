from __future__ import annotations

import dataclasses

import pytest

from prodkit import files
from prodkit.core.runtime import SYSTEM
from prodkit.files.policies import SinglePolicy
from prodkit.files.request import Claims, Progress, Tools


def tools(*policies: SinglePolicy) -> Tools:
    return Tools(
        policies=policies,
        rewrite=False,
        rebuild=False,
        sandbox=files.Sandbox(),
        scanner=None,
        quarantine=None,
        identify=None,
        runtime=SYSTEM,
    )


def test_reading_stops_at_the_largest_limit_of_all_policies() -> None:
    assert tools(files.PdfPolicy(max_bytes=30), files.ImagePolicy(max_bytes=20)).max_bytes == 30


def test_the_parts_of_a_check_cannot_be_changed_on_the_way() -> None:
    claims = Claims(
        filename="a.png", declared_type=None, sanitise=False, language="en", key="", on_progress=None
    )
    for part, name in (
        (claims, "filename"),
        (tools(files.PdfPolicy()), "rewrite"),
        (Progress("reading", 1), "stage"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, "other")
