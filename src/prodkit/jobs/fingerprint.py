"""The version of a step's code, so that a recorded result is never silently taken for that of other code.

The text of the function is parsed and written out again, without comments, docstring and layout: reformatting changes
nothing, and neither does another Python release. Without source (a REPL, a frozen build) the byte code is used.
Functions that the step calls are not looked at: a change there is declared with ``step.using(version=2)``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

__all__ = ["fingerprint"]


def fingerprint(fn: Callable[..., Any]) -> str:
    """Return 16 hexadecimal digits that stand for the code of `fn`, or nothing for a builtin.

    Args:
        fn: a function, method, ``functools.partial`` or an object with ``__call__``.
    """
    while isinstance(fn, functools.partial):
        fn = fn.func
    target: Any = inspect.unwrap(fn)
    target = getattr(target, "__func__", target)
    if not hasattr(target, "__code__"):
        target = vars(type(target)).get("__call__")
    code = getattr(target, "__code__", None)
    return _of(code, target) if isinstance(code, CodeType) else ""


@functools.lru_cache(maxsize=1024)
def _of(code: CodeType, fn: Any) -> str:
    text = _source(fn) if code.co_name != "<lambda>" else None
    return hashlib.blake2b((text or _bytecode(code)).encode(), digest_size=8).hexdigest()


def _source(fn: Any) -> str | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError):
        return None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    body = tree.body[0]
    body.decorator_list = []
    if ast.get_docstring(body, clean=False) is not None:
        body.body = body.body[1:] or [ast.Pass()]
    return ast.unparse(body)


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_code.hex()}|{code.co_names}|{code.co_varnames}|{constants}"
