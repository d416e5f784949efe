"""The function that ``@cache.cached(…)`` makes."""

from __future__ import annotations

import asyncio
import functools
import inspect
import string
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from prodkit.cache.entry import MISSING
from prodkit.cache.keys import make_cache_key, part_text

__all__ = ["Cached", "CachedDecorator", "Store"]

_PLAIN: Final = frozenset((str, int, bool, bytes, type(None)))
_KNOWN: Final = 4096

P = ParamSpec("P")
T = TypeVar("T")


class Store(Protocol):
    """The methods of a cache that a decorated function uses."""

    def peek(self, key: str) -> Any:
        """Return the value if memory can answer at once, else MISSING."""
        ...

    def get_or_set(
        self, key: str, load: Callable[[], Awaitable[Any]], **options: Any
    ) -> Coroutine[Any, Any, Any]:
        """Return the value, loaded if need be."""
        ...

    def delete(self, key: str) -> Coroutine[Any, Any, bool]:
        """Remove the value."""
        ...


class CachedDecorator(Protocol):
    """The decorator that ``cache.cached(…)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Cached[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Cached[P, T]: ...


class Cached(Generic[P, T]):
    """A cached function: call it like the function it wraps, always with ``await``.

    Args:
        cache: holds the results.
        fn: an async function, or a plain one, which then runs in a thread.
        key: a template, or a function of the arguments; None makes the key of name and arguments.
        tags: of the results, or a function of the arguments.
        options: further arguments of :meth:`Cache.get_or_set`.
    """

    __wrapped__: Callable[P, Any]

    def __init__(
        self,
        cache: Store,
        fn: Callable[P, Any],
        key: Callable[..., str] | str | None,
        tags: Iterable[str] | Callable[..., Iterable[str]],
        options: dict[str, Any],
    ) -> None:
        if (
            not callable(cast("object", fn))
            or inspect.isasyncgenfunction(fn)
            or inspect.isgeneratorfunction(fn)
        ):
            raise TypeError(f"cached takes an async function or a plain one, got {fn!r}")
        self._signature = inspect.signature(fn)
        parameters = list(self._signature.parameters.values())
        if key is None and parameters and parameters[0].name in ("self", "cls"):
            raise TypeError(
                f"{fn.__qualname__} is a method: give cached a key=, to say what of self identifies it"
            )
        functools.update_wrapper(self, fn)
        self._cache = cache
        self._fn: Callable[..., Awaitable[Any]]
        if _is_async(fn):
            self._fn = fn
        else:
            self._fn = functools.partial(asyncio.to_thread, fn)
        self._own_key: Callable[..., str] | None = (
            self._template(key, parameters) if isinstance(key, str) else key
        )
        self._tags: Callable[..., Iterable[str]]
        if callable(tags):
            self._tags = tags
        else:
            fixed = tuple(tags) if not isinstance(tags, str) else tags
            self._tags = lambda *_, **__: fixed
        self._options = options
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
        result: T = await self._cache.get_or_set(
            key, lambda: self._fn(*args, **kwargs), tags=self._tags(*args, **kwargs), **self._options
        )
        return result

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key under which the result for these arguments is cached.

        Args:
            args: as for the function.
            kwargs: as for the function.
        """
        if self._own_key is not None:
            return self._own_key(*args, **kwargs)
        # Making a key costs more than a hit, so it is kept for plain arguments. Their types are part of what it is
        # kept under, because 1 and True are equal.
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

    def _template(self, template: str, parameters: list[inspect.Parameter]) -> Callable[..., str]:
        """Return a function that fills ``"user:{user.id}:{page}"`` with the arguments, defaults applied."""
        try:
            fields = {
                field.partition(".")[0].partition("[")[0]
                for _, field, _, _ in string.Formatter().parse(template)
                if field is not None
            }
        except ValueError as error:
            raise ValueError(f"key={template!r} is no template: {error}") from None
        unknown = fields - {parameter.name for parameter in parameters}
        if unknown:
            raise ValueError(
                f"key={template!r} names parameters that the function has not: {sorted(unknown)}"
            )

        def fill(*args: Any, **kwargs: Any) -> str:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return _FORMATTER.vformat(template, (), bound.arguments)

        return fill

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result for these arguments; return whether there was one.

        Args:
            args: as for the function.
            kwargs: as for the function.
        """
        return await self._cache.delete(self.key_for(*args, **kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Remove the result for these arguments and compute it again.

        Args:
            args: as for the function.
            kwargs: as for the function.
        """
        await self.invalidate(*args, **kwargs)
        return await self(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)  # type: ignore[arg-type]


def _is_async(fn: Any) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return part_text(value) if not format_spec else str(super().format_field(value, format_spec))


_FORMATTER: Final = _Formatter()
