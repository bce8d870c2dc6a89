"""Words of others within Markdown, which Streamlit reads in all that it writes: they are shown as they stand.

Ids, names and labels come from apps and people. Unescaped, one of them could put a link of its own onto a screen.
"""

from __future__ import annotations

import re
import string

_PUNCTUATION = re.compile(f"([{re.escape(string.punctuation)}])")
_BACKTICKS = re.compile("`+")
#: After these an address would become a link: nothing that is seen is put behind them.
_ADDRESS = re.compile(r"(://|www|@)", re.IGNORECASE)
_NOTHING_SEEN = "\u2060"


def plain(text: object) -> str:
    """Markdown that shows a text as it stands, in one line. Streamlit still draws `->` as an arrow: see `code`."""
    return _PUNCTUATION.sub(r"\\\1", _ADDRESS.sub(rf"\1{_NOTHING_SEEN}", _line(text)))


def code(text: object) -> str:
    """Markdown that shows a text letter by letter, in one line, as ids and names are; a dash for an empty one."""
    line = _line(text) or "–"
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(line)), default=0))
    room = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{room}{line}{room}{fence}"


def _line(text: object) -> str:
    return re.sub(r"[\r\n\t]+", " ", str(text))
