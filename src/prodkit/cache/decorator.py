"""The function that ``@cache.cached(…)`` makes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from prodkit.cache.entry import MISSING
from prodkit.cache.keys import make_cache_key

if TYPE_CHECKING:
    from prodkit.cache.cache import Cache

__all__ = ["Cached"]

_PLAIN: Final = frozenset((str, int, bool, bytes, type(None)))
_KNOWN: Final = 4096

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
        self._known: dict[Any, str] = {}
        self._eager = options["eager"]
        self._peek = cache.peek
        self._name = f"{fn.__module__}.{fn.__qualname__}"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key = self.key_for(*args, **kwargs)
        if not self._eager:
            value = self._peek(key)
            if value is not MISSING:
                return value  # type: ignore[no-any-return]
        return await self._cache.get_or_set(
            key, lambda: self._fn(*args, **kwargs), tags=self._tags(*args, **kwargs), **self._options
        )

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which the result for these arguments is cached."""
        if self._own_key is not None:
            return self._own_key(*args, **kwargs)
        # Making a key costs more than a hit: it is kept for arguments that are plain. The types are part of
        # what it is kept under, as 1 and True are equal.
        types = tuple(map(type, args))
        seen: Any = (args, types)
        if kwargs:
            types += tuple(map(type, kwargs.values()))
            seen = (args, types, tuple(kwargs.items()))
        plain = _PLAIN.issuperset(types)
        if plain:
            known = self._known.get(seen)
            if known is not None:
                return known
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        key = make_cache_key(self._name, *bound.arguments.items())
        if plain:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[seen] = key
        return key

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forgets the result for these arguments. Tells whether there was one."""
        return await self._cache.delete(self.key_for(*args, **kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Forgets the result for these arguments and computes it anew."""
        await self.invalidate(*args, **kwargs)
        return await self(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)  # type: ignore[arg-type]
