"""The text of a file as UTF-8, whatever its encoding, and the name of the encoding that would read a byte.

    bytes  →  a byte order mark decides, else what was said, else UTF-8  →  UTF-8 without the mark

A byte that the encoding does not have becomes one that UTF-8 does not have. So its row is refused, and no other.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import BinaryIO

from pipelines.importing.chunk import ImportRefused

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Encodings that are proposed, in this order: that of Windows, and one that reads every byte.
_PROPOSED = ("cp1252", "latin-1")
#: Characters to either side of the first one that is not UTF-8 that a message shows.
_SHOWN = 20


def _marked(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udc80", error.end


codecs.register_error("tinycdp.marked", _marked)


class Text:
    """The text of an opened file, read as UTF-8; `encoding` is its name. Raises `ImportRefused` for an unknown one."""

    def __init__(self, file: BinaryIO, encoding: str | None) -> None:
        begin = file.read(4)
        mark, of_mark = next(((mark, name) for mark, name in _MARKS if begin.startswith(mark)), (b"", None))
        self.encoding = of_mark or _known(encoding or "utf-8")
        self._left = begin[len(mark) :]
        self._file = file
        self._decode: Callable[..., str] | None = None
        if self.encoding != "utf-8":
            self._decode = codecs.getincrementaldecoder(self.encoding)("tinycdp.marked").decode

    def read(self, size: int) -> bytes:
        """The next bytes, about so many; none at the end of the file. Ends of lines are \\n or \\r\\n, as they come."""
        while True:
            left, self._left = self._left, b""
            block = left + self._file.read(max(size - len(left), 1))
            if self._decode is None:
                return block
            text = self._decode(block, not block)
            if text or not block:
                return text.encode("utf-8", "surrogatepass")


def _known(name: str) -> str:
    try:
        found = codecs.lookup(name)
    except LookupError:
        found = None
    if found is None or not found._is_text_encoding:
        raise ImportRefused(f"--encoding {name} is not known; use a name such as cp1252, latin-1 or utf-16")
    return found.name


def proposal(row: bytes) -> str:
    """How a row that is no UTF-8 may be meant: the byte, and the encoding that reads it."""
    try:
        row.decode()
    except UnicodeDecodeError as error:
        at = error.start
        for name in _PROPOSED:
            try:
                before, after = row[max(at - _SHOWN, 0) : at], row[at : at + _SHOWN]
                text = before.decode(name) + after.decode(name)
            except UnicodeDecodeError:
                continue
            return f"byte 0x{row[at]:02x} at place {at + 1}; --encoding {name} would read it as {text!r}"
    return ""
