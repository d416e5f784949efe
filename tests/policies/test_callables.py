import typing

import pytest

from prodkit.policies import callables


@pytest.mark.parametrize("name", callables.__all__)
def test_each_alias_names_a_callable_with_any_arguments(name: str) -> None:
    arguments, returned = typing.get_args(getattr(callables, name))
    assert arguments is Ellipsis
    assert returned is typing.Any or typing.get_args(returned) == (typing.Any,)
