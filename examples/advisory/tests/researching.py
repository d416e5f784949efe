"""Steps that the tests of researches share."""

from __future__ import annotations

import itertools
import re

numbers = itertools.count(1)
"""Answers of sources are kept for a day, so every persona of a test is another one."""


def persona(who, name: str = "Marta", role: str = "") -> str:
    """A persona of a kind that no other test asks for: answers are kept for a day."""
    role = role or f"compra pão número {next(numbers)} todo dia"
    answer = who.post("/personas", {"name": name, "role": role}, page="/personas/nova")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def enrich(who, path: str) -> str:
    key = re.search(r'name="form_key" value="([^"]+)"', who.get(path).text)
    answer = who.post(f"{path}/enriquecer", {"form_key": key[1] if key else ""}, page=path)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]
