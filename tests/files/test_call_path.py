"""The path of one upload that the package docstring draws is the path that is taken."""

import re
import sys
import threading
from types import FrameType

from upload_corpus.base import bases

from prodkit import files


async def test_the_drawn_call_path_is_the_real_one() -> None:
    drawn = set(re.findall(r"[\w./]+\.py", files.__doc__ or ""))
    seen = set[str]()

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = frame.f_code.co_filename
        if "/prodkit/files/" in path:
            seen.add(path.partition("/prodkit/files/")[2])

    validator = files.Validator(files.ImagePolicy(), sandbox=files.Sandbox(workers=1))  # threads of its own
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        await validator.check(bases()["jpeg"][1], filename="a.jpg", declared_type="image/jpeg", sanitise=True)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert drawn - seen == {"result.py"}  # a dataclass: its code has no file
