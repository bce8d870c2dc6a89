"""How a path names a user: by any id, and an id may hold slashes (`auth0|a/b`) and ends of lines.

What is asked of a user stands after the id, so an id of a path does not end in one of those words.
"""

from __future__ import annotations

from starlette.convertors import StringConvertor, register_url_convertor

#: What may be asked of a user beyond the user alone.
ASKED = ("identity", "unlink", "data")


class UserConvertor(StringConvertor):
    """`{user:id}`: any text that the rest of the path leaves."""

    regex = r"(?s:.*)"

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


class WholeUserConvertor(UserConvertor):
    """`{user:whole}`: all that is left of a path, unless it ends in what is asked."""

    regex = rf"(?s:(?!.*/(?:{'|'.join(ASKED)})\Z).+)"


register_url_convertor("id", UserConvertor())
register_url_convertor("whole", WholeUserConvertor())
