from __future__ import annotations

from prodkit.cache.reads import _MOST, Reads


def test_a_reply_from_before_a_change_is_not_kept() -> None:
    reads = Reads()
    early = reads.begin()
    reads.change("k")
    late = reads.begin()
    assert not reads.current("k", early)
    assert reads.current("m", early)
    assert reads.current("k", late)
    reads.change_all()
    assert not reads.current("m", early)
    assert not reads.current("k", late)
    reads.end()
    reads.end()
    assert reads.current("k", reads.begin())


def test_changes_are_remembered_only_while_something_is_read() -> None:
    reads = Reads()
    for number in range(10):
        reads.change(str(number))
    assert not reads._changed
    began = reads.begin()
    for number in range(_MOST + 5):
        reads.change(str(number))
    assert len(reads._changed) <= _MOST
    assert not reads.current("never changed", began)  # past the bound every key counts as changed
    reads.end()
    assert not reads._changed
