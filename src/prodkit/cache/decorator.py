"""The function that ``@cache.cached(…)`` makes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from prodkit.cache.keys import make_cache_key

if TYPE_CHECKING:
    from prodkit.cache.cache import Cache

__all__ = ["Cached"]

P = ParamSpec("P")
T = TypeVar("T")


class Cached(Generic[P, T]):
    """Call it like the function it wraps; besides, it can tell and forget what it has cached."""

    __wrapped__: Callable[P, Coroutine[Any, Any, T]]

    def __init__(
        self,
        cache: Cache,
        fn: Callable[P, Coroutine[Any, Any, T]],
        key: Callable[P, str] | None,
        tags: Iterable[str] | Callable[P, Iterable[str]],
        options: dict[str, Any],
    ) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"cached takes an async function, got {fn!r}")
        parameters = list(inspect.signature(fn).parameters.values())
        if key is None and parameters and parameters[0].name in ("self", "cls"):
            raise TypeError(
                f"{fn.__qualname__} is a method: give cached a key=, to say what of self identifies it"
            )
        functools.update_wrapper(self, fn)
        self._cache = cache
        self._fn = fn
        self._own_key = key
        self._tags: Callable[P, Iterable[str]]
        if callable(tags):
            self._tags = tags
        else:
            fixed = tuple(tags) if not isinstance(tags, str) else tags
            self._tags = lambda *_, **__: fixed
        self._options = options
        self._signature = inspect.signature(fn)
        self._name = f"{fn.__module__}.{fn.__qualname__}"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._cache.get_or_set(
            self.key_for(*args, **kwargs),
            lambda: self._fn(*args, **kwargs),
            tags=self._tags(*args, **kwargs),
            **self._options,
        )

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which the result for these arguments is cached."""
        if self._own_key is not None:
            return self._own_key(*args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return make_cache_key(self._name, *bound.arguments.items())

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forgets the result for these arguments. Tells whether there was one."""
        return await self._cache.delete(self.key_for(*args, **kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Forgets the result for these arguments and computes it anew."""
        await self.invalidate(*args, **kwargs)
        return await self(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)  # type: ignore[arg-type]
