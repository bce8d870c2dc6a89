"""Whether a text or some bytes name one of some ids.

An id is named by its record's id (`user:ann`) or by what the app calls it (`ann`), in any of the ways it is written: as
it is, as JSON escapes it, as a URL does. The app's word counts where it stands alone, not inside another (`joann`);
shorter than six characters only where it is a whole string, since every text has a 7 in it somewhere.
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

#: The app's word of this length is looked for inside texts, and of this one inside words too: no other has it in it.
WORD_CHARACTERS_MIN, UNIQUE_CHARACTERS_MIN = 6, 16
#: What stands in the place of an id that was taken out of a text.
DELETED = "[deleted]"
#: Ids that one pattern looks for.
IDS_AT_ONCE = 500


class Names:
    """Some namespaced ids, to be looked for."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = sorted(ids)
        self._raws = frozenset(raw_id(one).value for one in self.ids)
        # All are looked for at once, in one walk; what that finds is looked at again with the rules above.
        needles = {form for one in self.ids for form in (*_forms(one), *_forms(raw_id(one).value))}
        self._needles = pl.Series(sorted(needles), dtype=pl.String).implode()
        self._byte_needles = pl.Series(sorted(map(_as_text, map(str.encode, needles))), dtype=pl.String).implode()
        self._patterns = [
            re.compile(b"|".join(_pattern(one) for one in self.ids[at : at + IDS_AT_ONCE]))
            for at in range(0, len(self.ids), IDS_AT_ONCE)
        ]

    def __len__(self) -> int:
        return len(self.ids)

    def naming(self, parts: Sequence[bytes]) -> list[int]:
        """Which of some bytes name one of them, by their place."""
        if not self.ids or not parts:
            return []
        may = pl.Series(list(map(_as_text, parts)), dtype=pl.String).str.contains_any(self._byte_needles)
        return [at for at in may.arg_true() if self._are_in(parts[at])]

    def are_in(self, data: bytes) -> bool:
        """Whether some bytes name one of them."""
        return bool(self.naming([data]))

    def among(self, texts: pl.Series) -> list[str]:
        """Those of some texts that name one of them, the text as a whole or a part of it."""
        if not self.ids or texts.is_empty():
            return []
        may = texts.drop_nulls().unique()
        may = may.filter(may.str.contains_any(self._needles))
        return [text for text in may.to_list() if text in self._raws or self._are_in(text.encode())]

    def redacted(self, text: str) -> str:
        """A text with `DELETED` wherever it names one of them."""
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
    """Bytes as text of as many characters, whatever they are."""
    return data.decode("latin-1")


def _deleted(found: re.Match[bytes]) -> bytes:
    return f'"{DELETED}"'.encode() if found[0].startswith(b'"') else DELETED.encode()


def unpacked(data: bytes) -> bytes:
    """A file's bytes as they were before they were gzipped, if they were."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data  # only begins like one


def _pattern(namespaced_id: str) -> bytes:
    """What finds an id in bytes: JSON, logs, keys and values of Redis."""
    found = [re.escape(form.encode()) + rb"(?![\w@-])" for form in _forms(namespaced_id)]
    raw = raw_id(namespaced_id).value
    for form in _forms(raw):
        plain = re.escape(form.encode())
        if len(raw) >= UNIQUE_CHARACTERS_MIN:
            found.append(plain)
        elif len(raw) >= WORD_CHARACTERS_MIN:
            found.append(rb"(?<![\w@-])" + plain + rb"(?![\w@-])")
        else:
            found.append(rb'"' + plain + rb'"')
    return b"|".join(found)


def _forms(text: str) -> Iterable[str]:
    """A text as it is, in JSON, in JSON of ASCII, and in a URL."""
    return {text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1], quote(text, safe="")}
