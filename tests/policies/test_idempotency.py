from functools import partial, wraps

import prodkit as pk
from prodkit.policies.base import invoke
from prodkit.policies.idempotency import innermost, is_non_idempotent, layers, non_idempotent


@non_idempotent
async def pay(amount: int = 1) -> int:
    return amount


async def read() -> int:
    return 1


class Payments:
    @non_idempotent
    async def pay(self) -> None: ...

    async def read(self) -> None: ...


class Charge:
    @non_idempotent
    async def __call__(self) -> None: ...


def test_the_mark_leaves_the_function_as_it_is() -> None:
    async def fn() -> None: ...

    assert non_idempotent(fn) is fn
    assert is_non_idempotent(fn, ())


def test_the_mark_is_found_on_methods_objects_and_partials() -> None:
    assert is_non_idempotent(Payments().pay, ())
    assert is_non_idempotent(Charge(), ())
    assert is_non_idempotent(partial(pay, 3), ())
    assert is_non_idempotent(partial(partial(pay), 3), ())
    assert not is_non_idempotent(Payments().read, ())
    assert not is_non_idempotent(read, ())
    assert not is_non_idempotent(partial(read), ())


def test_the_mark_is_found_under_wrappers_and_policies() -> None:
    @wraps(pay)
    async def logged(*args: int) -> int:
        return await pay(*args)

    assert is_non_idempotent(logged, ())
    assert is_non_idempotent(pk.Timeout(1)(pay), ())
    assert is_non_idempotent(pk.Retry()(pk.CircuitBreaker("bank")(pay)), ())
    assert is_non_idempotent(invoke, (pay, 3))
    assert is_non_idempotent(pk.Timeout(1).run, (pay, 3))
    assert is_non_idempotent(pk.Retry().run, (pk.Timeout(1).run, pay, 3))
    assert not is_non_idempotent(pk.Timeout(1).run, (read,))
    assert not is_non_idempotent(invoke, (read,))


def test_the_function_that_was_meant_is_found_with_its_own_arguments() -> None:
    assert innermost(read, ()) == (read, ())
    assert innermost(invoke, (pay, 3)) == (pay, (3,))
    assert innermost(pk.Timeout(1).run, (pay, 3)) == (pay, (3,))
    assert innermost(pk.Timeout(1)(pay), (3,)) == (pay, (3,))
    found = list(layers(pk.Timeout(1)(pay), ()))
    assert found[-1] is pay
    assert len(found) > 1
