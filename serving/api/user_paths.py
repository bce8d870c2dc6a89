"""How a path names a user: by any id, and an id may hold slashes (`auth0|a/b`) and ends of lines.

What is asked of a user stands after the id: `/identity`, `/data`. A slash as it is may be either's, and such a word at
the end is what is asked; an encoded one (`%2F`) is always the id's. So an id that ends in one of those words is named
with its slashes encoded, and every other id either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

#: What may be asked of a user beyond the user alone.
ASKED = ("identity", "unlink", "data")

#: What of a path stays encoded until the parts of it are known: what encodes, before all else, and the slash.
_ENCODED = {"%25": "%2525", "%2F": "%252F", "%2f": "%252F"}


class IdConvertor(StringConvertor):
    """`{user:id}`: any text that the rest of the path leaves."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """The id that it stands for."""
        return value.replace("%2F", "/").replace("%25", "%")

    def to_string(self, value: str) -> str:
        """The part of a path that stands for an id."""
        return value.replace("%", "%25").replace("/", "%2F")


class WholeConvertor(IdConvertor):
    """`{user:whole}`: all that is left of a path, unless it ends in what is asked."""

    regex = rf"(?s:(?!.*/(?:{'|'.join(ASKED)})\Z).+)"


register_url_convertor("id", IdConvertor())
register_url_convertor("whole", WholeConvertor())


class UserRoute(APIRoute):
    """A route whose path names a user by one of these."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As of any route, by a path in which a slash that was sent encoded is still told from one that was not."""
        return super().matches({**scope, "path": _half_decoded(scope)})


def _half_decoded(scope: Mapping[str, Any]) -> str:
    raw = scope.get("raw_path")
    if raw is None:
        return str(scope["path"]).replace("%", "%25")
    text = raw.decode("ascii")
    for sent, kept in _ENCODED.items():
        text = text.replace(sent, kept)
    return unquote(text)
