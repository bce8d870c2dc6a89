"""An operation is declared once and asked in three ways.

    Operations   makes a request, which is a value    operations.records(ids) -> Request[Reading]
    Store        waits for the answer                 store.records(ids) -> Reading
    AsyncStore   gives what can be awaited            await store.records(ids) -> Reading

`@operation` leaves its method as it is and marks it. `Waits` and `Awaits` put, when the class of a shell is made, a
method of the same name and arguments in the place of each marked one. So a call looks nothing up, and no operation is
listed twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from serving.store.requests import Request

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: The attribute that marks a function as an operation.
_MARK = "is_operation"


class Operation(Protocol[P, T_co]):
    """An operation as the type checker sees it: what it gives depends on what is asked."""

    @overload
    def __get__(self, asked: None, owner: Any, /) -> Callable[..., Request[T_co]]: ...
    @overload
    def __get__(self, asked: MakesRequests, owner: Any, /) -> Callable[P, Request[T_co]]: ...
    @overload
    def __get__(self, asked: Waits, owner: Any, /) -> Callable[P, T_co]: ...
    @overload
    def __get__(self, asked: Awaits, owner: Any, /) -> Callable[P, Coroutine[Any, Any, T_co]]: ...


def operation(make: Callable[Concatenate[Any, P], Request[T]]) -> Operation[P, T]:
    """Declares a method that makes a request as an operation of the store."""
    setattr(make, _MARK, True)
    return cast("Operation[P, T]", make)


class MakesRequests:
    """A value whose operations are the declared methods themselves."""


class Waits:
    """A shell whose operations wait for the answer and return it."""

    operations: Any

    def ask(self, request: Request[T]) -> T:
        """Sends the request and reads its answer."""
        raise NotImplementedError

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _put_in_place(cls, _waiting)


class Awaits:
    """A shell whose operations give a coroutine of the answer."""

    operations: Any

    async def ask(self, request: Request[T]) -> T:
        """Sends the request and reads its answer."""
        raise NotImplementedError

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _put_in_place(cls, _awaited)


def _waiting(make: Callable[..., Request[T]]) -> Callable[..., T]:
    @functools.wraps(make, updated=())  # without the mark
    def method(self: Waits, *args: Any, **kwargs: Any) -> T:
        return self.ask(make(self.operations, *args, **kwargs))

    return method


def _awaited(make: Callable[..., Request[T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    @functools.wraps(make, updated=())
    def method(self: Awaits, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, T]:
        return self.ask(make(self.operations, *args, **kwargs))

    return method


def _put_in_place(shell: type, answering: Callable[[Callable[..., Request[Any]]], Callable[..., Any]]) -> None:
    for name in dir(shell):
        method = getattr(shell, name)
        if getattr(method, _MARK, False):
            setattr(shell, name, answering(method))
