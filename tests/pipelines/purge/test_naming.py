"""Tells where an id is named from where only its letters stand."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import polars as pl
import pytest

from pipelines.purge import naming
from pipelines.purge.naming import HEAD, Names, unpacked

LONG = "a-long-and-unique-id"


@pytest.mark.parametrize(
    ("id", "text", "is_named"),
    [
        ("user:joanna", '{"user_id":"joanna"}', True),
        ("user:joanna", "GET /v1/users/joanna/traits", True),
        ("user:joanna", "rec:{3}:user:joanna", True),
        ("user:joanna", "joannas house", False),
        ("user:joanna", "user:joanna-2", False),
        ("user:7", '{"amount": 7}', False),
        ("user:7", '{"userId":"7"}', True),
        ("user:7", "rec:{3}:user:7", True),
        ("user:7", "rec:{3}:user:77", False),
        (f"user:{LONG}", f"\x1d{LONG}xyz", True),
        ('user:with "quotes"', '{"userId":"with \\"quotes\\""}', True),
        ("user:møller-9", '{"userId":"m\\u00f8ller-9"}', True),
        ("user:møller-9", "/users/m%C3%B8ller-9", True),
    ],
)
def test_an_id_is_found_in_every_writing_and_not_inside_another(id: str, text: str, is_named: bool) -> None:
    """An id is found in every writing, in bytes and in columns alike, and not inside another id or number."""
    names = Names(["user:somebody-else", id])
    assert names.are_in(text.encode()) is is_named
    assert (names.among(pl.Series([None, "", text])) == [text]) is is_named


def test_a_cell_that_is_a_short_id_names_it() -> None:
    """A short id is named by a cell that is the whole of it, and not by bytes that merely contain it."""
    assert Names(["anon:d1"]).among(pl.Series(["d1", "d11", "xd1"])) == ["d1"]
    assert not Names(["anon:d1"]).are_in(b"d1")
    assert Names([]).among(pl.Series(["d1"])) == []


def test_a_text_is_redacted_wherever_it_names_an_id() -> None:
    """The longest of the ids that begin at one place goes as a whole; what only looks like an id stays."""
    names = Names(["user:ann", "user:ann smith", "user:joanna", "user:møller-9", "user:7"])
    text = 'user:ann smith, joanna, joannas, møller-9, user:anna, "7", 7, é user:ann'
    assert names.redacted(text) == '[deleted], [deleted], joannas, [deleted], user:anna, "[deleted]", 7, é [deleted]'
    assert names.redacted("7") == "[deleted]"
    assert names.redacted("nobody") == "nobody"


def test_an_id_is_found_at_the_end_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text is searched in pieces, and what stands over their border or beside it is judged as elsewhere."""
    monkeypatch.setattr(naming, "PIECE", 8)
    for at in range(20):
        assert Names(["user:joanna"]).are_in(b"." * at + b"joanna.")
        assert not Names(["user:joanna"]).are_in(b"." * at + b"xjoanna.")
        assert not Names(["user:joanna"]).are_in(b"." * at + b"joannax")


@pytest.mark.timeout(15)
def test_a_text_is_searched_once_however_many_ids_there_are() -> None:
    """Each line has the letters of a short id, and none names one: every place was tried with every id, 5 s a MB."""
    names = Names([*(f"user:shopper-{number:03}" for number in range(149)), "user:k1"])
    lines = (f'{{"id":"user:visitor-{number % 997}","event":"k1 viewed","n":{number}}}\n' for number in range(100_000))
    assert not names.are_in("".join(lines).encode())


def test_the_longest_ids_are_found_in_every_writing() -> None:
    """Where they stand whole, and not where all but their end does; ids that begin alike are told apart."""
    longest, alike = "Ω" * 255 + "z", [f"{'same-beginning-' * 8}{number}" for number in range(100, 1_100)]
    names = Names([f"user:{longest}", *(f"anon:{id}" for id in alike)])
    for text in (longest, json.dumps(longest), quote(longest), f"anon:{alike[-1]}", f"x{alike[0]}x"):
        assert names.are_in(text.encode()) and names.among(pl.Series([text, "other"])) == [text], text
    for text in (longest[:-1], json.dumps(longest[:-1]), "same-beginning-" * 8 + "99", longest[1:]):
        assert not names.are_in(text.encode()), text
    assert names.redacted(f"of {alike[7]} and {longest}") == "of [deleted] and [deleted]"


def test_what_is_looked_for_first_is_short() -> None:
    """The search of one text takes some milliseconds to prepare, not the half second that the longest ids took."""
    names = Names(["user:" + "Ω" * 256, "anon:" + "𝄞" * 256, "email:" + "ab" * 128])

    assert max(names._heads.explode().str.len_chars()) == max(names._text_heads.explode().str.len_chars()) == HEAD


def test_gzip_is_unpacked() -> None:
    """Gzipped bytes are unpacked, and bytes that only begin like gzip are taken as they are."""
    assert unpacked(gzip.compress(b"user:ann")) == b"user:ann"
    assert unpacked(b"\x1f\x8b no") == b"\x1f\x8b no"
