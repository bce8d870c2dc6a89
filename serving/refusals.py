"""What a caller did wrong, or what cannot be served now, as values that become answers.

Refusal                 status, code, message, details
├── Invalid       400   names the field, the value and the remedy
├── Unauthenticated 401
├── Forbidden     403
├── NotFound      404
├── Conflict      409
├── TooMany       429   with Retry-After
└── Unavailable   503   with Retry-After
"""

from __future__ import annotations

from reprlib import Repr
from typing import Any, ClassVar

#: Of a value that is refused, what is repeated.
SHOWN_CHARACTERS_MAX = 100


class Refusal(Exception):
    """A request that is refused; the body is `{success: false, code, message, details}`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, details: dict[str, Any] | None = None, retry_after_s: int | None = None) -> None:
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """What the caller reads. Of a value that was sent no more than is needed to know it again is repeated."""
        details = self.details
        if details is not None and isinstance(value := details.get("value"), str):
            details = details | {"value": cut(value)}
        return {"success": False, "code": self.code, "message": self.message, "details": details}


class Invalid(Refusal):
    """The request itself is wrong; sending it again changes nothing."""

    status = 400
    code = "invalid_argument"


class Unauthenticated(Refusal):
    """No key, or one that is not known."""

    status = 401
    code = "unauthenticated"


class Forbidden(Refusal):
    """The key's kind does not allow this."""

    status = 403
    code = "permission_denied"


class NotFound(Refusal):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Conflict(Refusal):
    """It is there already, or others need it."""

    status = 409
    code = "already_exists"


class TooMany(Refusal):
    """More than can be taken now; the same request may pass later."""

    status = 429
    code = "resource_exhausted"


class Unavailable(Refusal):
    """A part is away or being restored; the same request may pass later."""

    status = 503
    code = "unavailable"


class _Shown(Repr):
    """Values as Python writes them, of nested ones no more than is read: of all of it, a few thousand brackets in each
    other would exhaust the stack."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist = 4, 8, 16
        self.maxstring = self.maxlong = self.maxother = 1_000


_repr = _Shown().repr


def value_for_message(value: object) -> str:
    """A value as refusals repeat it: at most 100 characters of it."""
    return cut(_repr(value))


def cut(text: str) -> str:
    """Text, or its begin with an ellipsis."""
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 3]}..."


def invalid(field: str, value: object, remedy: str, message: str | None = None) -> Invalid:
    """A refusal that names the field, the value (cut to 100 characters) and the remedy."""
    said = value_for_message(value)
    return Invalid(
        message or f"{field}: {said} is not accepted; {remedy}", {"field": field, "value": said, "remedy": remedy}
    )
