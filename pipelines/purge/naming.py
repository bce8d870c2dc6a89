"""Whether a text or some bytes name one of some ids.

Two words name an id: its record's id (`user:ann`) and the app's word for it (`ann`). Each may be written as it is, as
JSON escapes it, or as a URL does. The app's word counts where it stands alone, not inside another word (`joann`). One
of fewer than six characters counts only where it is a whole string, since every text has a 7 in it somewhere.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import quote

import polars as pl

from serving.ids import raw_id

#: An app's word of this length is looked for inside texts; and of that one inside words too: no other word contains it.
WORD_CHARACTERS_MIN, UNIQUE_CHARACTERS_MIN = 6, 16
#: Stands in the place of an id that was taken out of a text.
DELETED = "[deleted]"
#: Ids of one pattern.
IDS_AT_ONCE = 500


class Names:
    """Looks for some namespaced ids in texts and bytes."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = sorted(ids)
        self._raws = frozenset(raw_id(id).value for id in self.ids)
        # One walk through a text looks for all of them. Where it meets one, the patterns apply the rules above.
        needles = {form for id in self.ids for form in (*_forms(id), *_forms(raw_id(id).value))}
        self._needles = pl.Series(sorted(needles), dtype=pl.String).implode()
        self._byte_needles = pl.Series(sorted(map(_as_text, map(str.encode, needles))), dtype=pl.String).implode()
        self._patterns = [
            re.compile(b"|".join(_pattern(id) for id in self.ids[at : at + IDS_AT_ONCE]))
            for at in range(0, len(self.ids), IDS_AT_ONCE)
        ]

    def __len__(self) -> int:
        return len(self.ids)

    def naming(self, parts: Sequence[bytes]) -> list[int]:
        """The places of the parts that name one of the ids."""
        if not self.ids or not parts:
            return []
        meets = pl.Series(list(map(_as_text, parts)), dtype=pl.String).str.contains_any(self._byte_needles)
        return [at for at in meets.arg_true() if self._are_in(parts[at])]

    def are_in(self, data: bytes) -> bool:
        """Whether some bytes name one of the ids."""
        return bool(self.naming([data]))

    def among(self, texts: pl.Series) -> list[str]:
        """The distinct texts that name one of the ids, as a whole or in a part."""
        if not self.ids or texts.is_empty():
            return []
        candidates = texts.drop_nulls().unique()
        candidates = candidates.filter(candidates.str.contains_any(self._needles))
        return [text for text in candidates.to_list() if text in self._raws or self._are_in(text.encode())]

    def redacted(self, text: str) -> str:
        """A text with `DELETED` wherever it names one of the ids."""
        if text in self._raws:
            return DELETED
        if not self._are_in(text.encode()):
            return text
        data = text.encode()
        for pattern in self._patterns:
            data = pattern.sub(_deleted, data)
        return data.decode()

    def _are_in(self, data: bytes) -> bool:
        return any(pattern.search(data) for pattern in self._patterns)


def _as_text(data: bytes) -> str:
    """Any bytes as a text of as many characters."""
    return data.decode("latin-1")


def _deleted(match: re.Match[bytes]) -> bytes:
    return f'"{DELETED}"'.encode() if match[0].startswith(b'"') else DELETED.encode()


def unpacked(data: bytes) -> bytes:
    """A file's bytes, as they were before gzip if the file is gzipped."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data  # only begins like a gzipped file


def _pattern(namespaced_id: str) -> bytes:
    """The expression that finds an id in bytes: JSON, logs, keys and values of Redis."""
    ways = [re.escape(form.encode()) + rb"(?![\w@-])" for form in _forms(namespaced_id)]
    raw = raw_id(namespaced_id).value
    for form in _forms(raw):
        plain = re.escape(form.encode())
        if len(raw) >= UNIQUE_CHARACTERS_MIN:
            ways.append(plain)
        elif len(raw) >= WORD_CHARACTERS_MIN:
            ways.append(rb"(?<![\w@-])" + plain + rb"(?![\w@-])")
        else:
            ways.append(rb'"' + plain + rb'"')
    return b"|".join(ways)


def _forms(text: str) -> Iterable[str]:
    """A text as it is, in JSON, in JSON of ASCII, and in a URL."""
    return {text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1], quote(text, safe="")}
