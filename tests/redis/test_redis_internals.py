"""The private attributes of redis-py that prodkit reads: fails when a version moves one of them."""

from __future__ import annotations

import inspect

import pytest

redis = pytest.importorskip("redis")

from redis.asyncio.connection import Connection  # noqa: E402

from prodkit.redis import redis_internals  # noqa: E402


def test_the_attributes_are_there() -> None:
    connection = Connection(host="127.0.0.1", port=1)
    assert connection._writer is None
    assert connection._reader is None
    assert not redis_internals.is_closing(connection)
    redis_internals.close_now(connection)
    assert inspect.iscoroutinefunction(connection.read_response)
    parameters = inspect.signature(connection.read_response).parameters
    assert {"disable_decoding", "disconnect_on_error", "push_request", "timeout"} <= set(parameters)
    assert hasattr(connection._parser, "set_invalidation_push_handler")
    assert redis_internals.nothing() is not None


def test_commands_are_packed_as_redis_expects() -> None:
    pack = redis_internals.packer(Connection(host="127.0.0.1", port=1))
    assert (
        b"".join(pack(("SET", "k", b"\xff", 7))) == b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n\xff\r\n$1\r\n7\r\n"
    )
    assert b"".join(pack(("GET", "a\ud800"))) == b"*2\r\n$3\r\nGET\r\n$4\r\na\xed\xa0\x80\r\n"
    from redis.exceptions import DataError

    with pytest.raises(DataError):
        pack(("SET", "k", object()))
