"""One upload on its way: every problem is collected, the event says more than the client learns."""

from __future__ import annotations

import pytest
from upload_corpus.base import bases

from prodkit import files
from prodkit.core.runtime import Runtime
from prodkit.files.events import FileAccepted, FileRejected
from prodkit.files.inspection import Inspection
from prodkit.files.policies import SinglePolicy
from prodkit.files.request import Claims, Progress, Tools

JPEG = bases()["jpeg"][1]


def inspection(
    *policies: SinglePolicy,
    filename: str | None = None,
    declared_type: str | None = None,
    runtime: Runtime | None = None,
    stages: list[Progress] | None = None,
) -> Inspection:
    tools = Tools(
        policies=policies or (files.ImagePolicy(),),
        rewrite=False,
        rebuild=False,
        sandbox=files.Sandbox(),
        scanner=None,
        quarantine=None,
        identify=None,
        runtime=runtime or Runtime(),
    )
    claims = Claims(
        filename=filename,
        declared_type=declared_type,
        sanitise=False,
        language="en",
        key="",
        on_progress=None if stages is None else stages.append,
    )
    return Inspection(tools, claims)


async def codes(made: Inspection, data: bytes) -> list[str]:
    try:
        with pytest.raises(files.InvalidFileError) as caught:
            await made.run(data)
    finally:
        await made.tools.sandbox.aclose()
    return [each.code for each in caught.value.problems]


async def test_every_problem_is_collected_before_the_file_is_refused() -> None:
    made = inspection(filename="../me.gif", declared_type="text/html")
    assert await codes(made, JPEG) == ["name_unsafe", "extension_mismatch", "declared_type_mismatch"]


async def test_an_empty_file_is_compared_with_its_name_all_the_same() -> None:
    assert await codes(inspection(filename="a"), b"") == ["empty", "extension_missing"]


async def test_the_client_can_only_make_a_verdict_worse() -> None:
    made = inspection(filename="a.jpg", declared_type="image/jpeg")
    assert await codes(made, b"MZ\x90\0 a program") == ["unknown_type"]


async def test_the_event_says_what_the_walk_saw() -> None:
    runtime, seen = Runtime(), list[FileRejected]()
    runtime.events.subscribe(seen.append, FileRejected)
    made = inspection(runtime=runtime)
    assert await codes(made, JPEG[:-2]) == ["truncated"]
    assert [(each.codes, each.detail, each.size) for each in seen] == [
        (("truncated",), "no end of image", len(JPEG) - 2)
    ]


async def test_an_accepted_file_reports_its_stages_and_its_hash() -> None:
    runtime, seen, stages = Runtime(), list[FileAccepted](), list[Progress]()
    runtime.events.subscribe(seen.append, FileAccepted)
    made = inspection(filename="a.jpg", runtime=runtime, stages=stages)
    try:
        clean = await made.run(JPEG)
    finally:
        await made.tools.sandbox.aclose()
    assert clean.content is JPEG
    assert clean.sha256 == made.digest
    assert [each.stage for each in stages] == ["reading", "checking", "decoding"]
    assert [(each.kind, each.size, each.repairs) for each in seen] == [("jpeg", len(JPEG), ())]
