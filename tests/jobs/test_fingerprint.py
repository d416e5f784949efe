"""Code is distinguished by what it does, not by how it is laid out."""

import functools
import textwrap
from pathlib import Path
from typing import Any

from prodkit.jobs.fingerprint import fingerprint


def loaded(path: Path, source: str) -> Any:
    path.write_text(textwrap.dedent(source))
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space["f"]


def test_layout_comments_and_docstrings_do_not_count(tmp_path):
    first = loaded(tmp_path / "a.py", "async def f(x):\n    return x + 1\n")
    second = loaded(
        tmp_path / "b.py", 'async def f(x):\n    """Add one."""\n    # one more\n    return (x\n      + 1)\n'
    )
    assert fingerprint(first) == fingerprint(second) != ""


def test_another_constant_is_other_code(tmp_path):
    first = loaded(tmp_path / "a.py", "async def f(x):\n    return x + 1\n")
    second = loaded(tmp_path / "b.py", "async def f(x):\n    return x + 2\n")
    assert fingerprint(first) != fingerprint(second)


def test_without_source_the_byte_code_counts():
    spaces: list[dict[str, Any]] = [{}, {}, {}]
    for space, number in zip(spaces, (1, 1, 2), strict=True):
        exec(f"def f(x): return [x + {number} for _ in ()]", space)
    one, same, other = (fingerprint(space["f"]) for space in spaces)
    assert one == same != other


def test_partials_methods_callables_and_builtins():
    class Greeter:
        def greet(self):
            return "hello"

        def __call__(self):
            return "called"

    assert fingerprint(Greeter().greet) == fingerprint(functools.partial(Greeter.greet)) != ""
    assert fingerprint(Greeter()) not in ("", fingerprint(Greeter().greet))
    assert fingerprint(lambda: 1) != fingerprint(lambda: 2)
    assert fingerprint(sum) == ""
