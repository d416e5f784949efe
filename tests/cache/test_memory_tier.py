from __future__ import annotations

import gc
import tracemalloc

import pytest

from prodkit.cache.codec import JsonCodec
from prodkit.cache.entry import Entry
from prodkit.cache.memory_tier import MemoryTier, deep_size
from prodkit.cache.outage_log import OutageLog
from prodkit.cache.tiers import Tiers
from prodkit.core.runtime import SYSTEM


@pytest.mark.parametrize("shape", ["small", "read", "tagged", "text", "emoji", "document", "shared"])
def test_the_bound_is_what_is_used(shape: str) -> None:
    memory = MemoryTier(1_000_000, 2**20)
    codec = JsonCodec()
    copies = "never" if shape == "shared" else "deep"
    tiers = Tiers(None, "t", SYSTEM.clock, codec, memory, OutageLog(1), 1.0, copies)  # type: ignore[arg-type]
    value: object = {
        "small": 7,
        "read": 7,
        "tagged": 7.5,
        "text": "x" * 10_000,
        "emoji": "x" * 10_000 + "😀",
        "document": {"a": list(range(100))},
        "shared": {"a": [f"{n}" for n in range(100)]},
    }[shape]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(4_000):
        payload = codec.encode(value)
        tags = [f"u:{number}", "all"] if shape == "tagged" else []
        head = b"pk2....[%050d]" % number if shape == "read" else b""
        entry = tiers.entry(payload, 60, 60, cost=float(number), tags=tags, head=head)
        tiers.keep(f"key:{number}", entry)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert memory.evictions > 0
    assert memory.bytes <= 2**20
    assert used <= 1.1 * 2**20


def test_sizes() -> None:
    assert deep_size({"a": [1, 2]}) > deep_size({"a": []})
    memory = MemoryTier(10, 1000)
    memory.put("k", Entry(b"x" * 2000, 1, fresh_until=1, expires_at=1))
    assert memory.bytes <= 1000
