"""How a path names a user: by any id, and an id may hold slashes (`auth0|a/b`) and ends of lines.

A word after the id says what is asked: `/identity`, `/data`. A plain slash may belong to the id or stand before such a
word: where the path ends in one of the words, it is the word. An encoded slash (`%2F`) always belongs to the id. So an
id that ends in one of the words must be sent with its slashes encoded; every other id may be sent either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

#: The name, in a request's scope, of its path with slashes that are still encoded.
_PATH = "tinycdp.path"

#: Words after an id that say what is asked about its user.
WORDS = ("identity", "unlink", "data", "events", "decisions")

#: A slash in a path as it was sent, plain or encoded.
_SLASH = re.compile(rb"/|%2[Ff]")


class IdConvertor(StringConvertor):
    """`{user:id}`: any text before the rest of the path."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """The id that a part of a path stands for."""
        return value.replace("%2F", "/").replace("%25", "%")

    def to_string(self, value: str) -> str:
        """The part of a path that stands for an id."""
        return value.replace("%", "%25").replace("/", "%2F")


class WholeConvertor(IdConvertor):
    """`{user:whole}`: the rest of a path, unless it ends in one of the words."""

    regex = rf"(?s:(?!.*/(?:{'|'.join(WORDS)})\Z).+)"


register_url_convertor("id", IdConvertor())
register_url_convertor("whole", WholeConvertor())


class UserRoute(APIRoute):
    """A route whose path names a user by one of these convertors."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Matches as any route does, against a path in which an encoded slash still differs from a plain one."""
        if not str(scope["path"]).startswith(self.path_format.partition("{")[0]):
            return Match.NONE, {}
        path = scope.get(_PATH)
        if path is None:  # once for all routes: a path may be long, and nobody has asked for a key yet
            path = scope[_PATH] = _half_decoded(scope)
        return super().matches({**scope, "path": path})


def _half_decoded(scope: Mapping[str, Any]) -> str:
    """The path, decoded but for `%` itself and the slashes that were sent encoded.

    The server has decoded it already, which is most of what a long path costs: so only the slashes are looked at anew.
    """
    parts = str(scope["path"]).replace("%", "%25").split("/")
    slashes = _SLASH.findall(scope.get("raw_path") or b"")
    if len(slashes) != len(parts) - 1:  # the server gives no raw path
        return "/".join(parts)
    between = ["/" if slash == b"/" else "%2F" for slash in slashes]
    return "".join(chain.from_iterable(zip(parts, [*between, ""], strict=True)))
