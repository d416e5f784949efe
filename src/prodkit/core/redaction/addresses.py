"""Passwords inside addresses: ``scheme://user:password@host``. Pure."""

from __future__ import annotations

import re

__all__ = ["mask_addresses", "mask_oracle"]

_URL_END = re.compile(r"[\s\"'<>`|\\]")
_WEB = ("http", "https", "ws", "wss")
_LONGEST = 2048


def mask_addresses(text: str, mask: str) -> str:
    """Return `text` with the passwords of its addresses masked, and tokens that stand in the place of a user."""
    parts: list[str] = []
    at = 0
    while (mark := text.find("://", at)) >= 0:
        start = mark + 3
        stop = _URL_END.search(text, start, start + _LONGEST)
        end = stop.start() if stop else min(len(text), start + _LONGEST)
        parts.append(text[at:start])
        parts.append(_authority(text[max(0, mark - 12) : mark], text[start:end], mask))
        at = end
    parts.append(text[at:])
    return "".join(parts)


_ORACLE = re.compile(
    r"(?i)((?:oracle:\w{1,8}:|sqlplus[ \t]+(?:-\w+[ \t]+){0,3})[\w$#.-]{1,64}/)([^\s@\"'/]{1,128})@"
)


def mask_oracle(text: str, mask: str) -> str:
    """Return `text` with the password of ``jdbc:oracle:thin:user/password@…`` masked."""
    return _ORACLE.sub(lambda found: f"{found.group(1)}{mask}@", text)


def _authority(scheme: str, rest: str, mask: str) -> str:
    if "@" not in rest and "%40" not in rest:
        return rest
    sign = "@" if "@" in rest else "%40"
    path = rest.partition("?")[0]
    scope = re.split(r"[/?#]", rest, maxsplit=1)[0] if scheme.lower().endswith(_WEB) else path
    if sign not in scope:
        # A / or ? of the password that is not escaped: everything up to the @ is the password.
        scope = rest if sign not in path and ":" in rest.partition(sign)[0] else scope
    user, at, _ = scope.rpartition(sign)
    if not at:
        return rest
    name, colon, password = user.partition(":")
    if not colon:
        name, colon, password = user.partition("%3A")
    if colon and password:
        if re.fullmatch(r"\$\{.*\}|\{\w*\}|<\w*>|\*+|%s|\$\w+", password):
            return rest
        shown = mask if len(name) >= 20 and any(map(str.isdigit, name)) else name
        return f"{shown}{colon}{mask}{rest[len(user) :]}"
    if len(name) >= 16 and any(map(str.isdigit, name)):  # a token in the place of a user
        return f"{mask}{colon}{rest[len(user) :]}"
    return rest
