"""Whether a text or some bytes name one of some ids.

Two words name an id: its record's id (`user:ann`) and the app's word for it (`ann`). Each may be written as it is, as
JSON escapes it, or as a URL does. The app's word counts where it stands alone, not inside another word (`joann`). One
of fewer than six characters counts only where it is a whole string, since every text has a 7 in it somewhere.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeAlias
from urllib.parse import quote

import polars as pl

from serving.ids import raw_id

#: An app's word of this length is looked for inside texts; and of that one inside words too: no other word contains it.
WORD_CHARACTERS_MIN, UNIQUE_CHARACTERS_MIN = 6, 16
#: Stands in the place of an id that was taken out of a text.
DELETED = "[deleted]"
#: Characters of what names an id by which it is looked for first. What finds many words at once is made anew for each
#: text, and the longest ids may be written in so many ways that it takes half a second to make it of them.
HEAD = 64
#: Characters that are searched at once.
PIECE = 1024 * 1024
#: The characters of a word, each of them; b"", before a text and after it, is none.
WORD = frozenset(bytes([byte]) for byte in range(128) if chr(byte).isalnum() or chr(byte) in "_@-")


#: Whether an occurrence counts only without a character of a word before it, and without one after it.
Borders: TypeAlias = tuple[bool, bool]


class Names:
    """Looks for some namespaced ids in texts and bytes."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = sorted(ids)
        self._raws = frozenset(raw_id(id).value for id in self.ids)
        self._borders: dict[str, set[Borders]] = {}  # of each needle; two ids may share one
        for id in self.ids:
            for needle, borders in _needles(id):
                self._borders.setdefault(_as_text(needle.encode()), set()).add(borders)
        self._text_heads = pl.Series(
            sorted({needle[:HEAD] for id in self.ids for needle, _ in _needles(id)}), dtype=pl.String
        ).implode()
        #: By head and by bytes in UTF-8: what begins with that head. Thousands of ids may have one.
        self._by_head: dict[str, dict[int, dict[bytes, str]]] = {}
        for needle in self._borders:
            encoded = needle.encode()
            self._by_head.setdefault(needle[:HEAD], {}).setdefault(len(encoded), {})[encoded] = needle
        self._heads = pl.Series(sorted(self._by_head), dtype=pl.String).implode()
        self._longest = max(map(len, self._borders), default=0)

    def __len__(self) -> int:
        return len(self.ids)

    def naming(self, parts: Sequence[bytes]) -> list[int]:
        """The places of the parts that name one of the ids."""
        if not self.ids or not parts:
            return []
        texts = list(map(_as_text, parts))
        meets = pl.Series(texts, dtype=pl.String).str.contains_any(self._heads)
        return [at for at in meets.arg_true() if self._is_in(texts[at])]

    def are_in(self, data: bytes) -> bool:
        """Whether some bytes name one of the ids."""
        return bool(self.naming([data]))

    def among(self, texts: pl.Series) -> list[str]:
        """The distinct texts that name one of the ids, as a whole or in a part."""
        if not self.ids or texts.is_empty():
            return []
        distinct = texts.drop_nulls().unique()
        are_ids = distinct.is_in(pl.Series(sorted(self._raws)).implode())
        candidates = distinct.filter(are_ids | distinct.str.contains_any(self._text_heads)).to_list()
        named = set(self.naming([text.encode() for text in candidates]))
        return [text for at, text in enumerate(candidates) if at in named or text in self._raws]

    def redacted(self, text: str) -> str:
        """A text with `DELETED` wherever it names one of the ids."""
        if text in self._raws:
            return DELETED
        as_text = _as_text(text.encode())
        data, kept, end = as_text.encode(), [], 0
        for start, after in sorted(self._occurrences(as_text), key=lambda span: (span[0], -span[1])):
            if start >= end:  # the longest of those that begin first
                kept += [data[end:start], _deleted(data[start:after])]
                end = after
        return b"".join([*kept, data[end:]]).decode().encode("latin-1").decode()

    def _is_in(self, text: str) -> bool:
        # Piece by piece, so that a text which is full of them is not searched to its end. A piece has what stands
        # beside its own occurrences: the character before it, and the rest of one that begins in it.
        for at in range(0, len(text), PIECE):
            before = max(0, at - 1)
            end = len(text[before : at + PIECE].encode())
            occurrences = self._occurrences(text[before : at + PIECE + self._longest + 1])
            if any((start > 0 or at == 0) and start < end for start, _ in occurrences):
                return True
        return False

    def _occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """Where a text, as `_as_text` makes it, names an id: start and end in its UTF-8."""
        series, data = pl.Series([text]), text.encode()
        starts = series.str.find_many(self._heads, overlapping=True)[0]
        heads = series.str.extract_many(self._heads, overlapping=True)[0]
        ends = (
            (start, start + size, needles.get(data[start : start + size]))
            for start, head in zip(starts, heads, strict=True)
            for size, needles in self._by_head[head].items()
        )
        for start, end, needle in ends:
            if needle is None:
                continue
            in_word = data[start - 1 : start] in WORD, data[end : end + 1] in WORD
            if any(
                not (in_word[0] and before) and not (in_word[1] and after) for before, after in self._borders[needle]
            ):
                yield start, end


def _as_text(data: bytes) -> str:
    """Any bytes as a text of as many characters."""
    return data.decode("latin-1")


def _deleted(occurrence: bytes) -> bytes:
    return f'"{DELETED}"'.encode() if occurrence.startswith(b'"') else DELETED.encode()


def unpacked(data: bytes) -> bytes:
    """A file's bytes, as they were before gzip if the file is gzipped."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data  # only begins like a gzipped file


def _needles(namespaced_id: str) -> Iterator[tuple[str, Borders]]:
    """What names an id in bytes (JSON, logs, keys and values of Redis), and which borders each needs."""
    for form in _forms(namespaced_id):
        yield form, (False, True)
    raw = raw_id(namespaced_id).value
    for form in _forms(raw):
        if len(raw) >= UNIQUE_CHARACTERS_MIN:
            yield form, (False, False)
        elif len(raw) >= WORD_CHARACTERS_MIN:
            yield form, (True, True)
        else:
            yield f'"{form}"', (False, False)


def _forms(text: str) -> Iterable[str]:
    """A text as it is, in JSON, in JSON of ASCII, and in a URL."""
    return {text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1], quote(text, safe="")}
