"""Entity tags in `If-None-Match` and `If-Match`, as RFC 9110 reads them."""

from __future__ import annotations

import pytest

from serving.http.conditions import client_has, client_knows


@pytest.mark.parametrize(
    ("header", "tag", "has", "knows"),
    [
        (None, '"a"', False, True),
        ("", '"a"', False, False),
        ('"a"', '"a"', True, True),
        ('"b"', '"a"', False, False),
        ('W/"a"', '"a"', True, False),
        ('"a"', 'W/"a"', True, False),
        ('W/"a"', 'W/"a"', True, False),
        ("*", 'W/"a"', True, True),
        ("*", '"a"', True, True),
        (" * ", '"a"', True, True),
        ('"b", "a"', '"a"', True, True),
        ('"b" ,W/"a" , ', '"a"', True, False),
        ('"x,y", "a"', '"a"', True, True),
        ('"x,y"', '"x', False, False),
        ("a", '"a"', False, False),
        ('"a" b', '"a"', False, False),
        ('"*"', '"a"', False, False),
        ('"open, "a"', '"a"', True, True),
    ],
)
def test_a_header_has_a_tag(header: str | None, tag: str, has: bool, knows: bool) -> None:
    """Lists, commas in quotes, weak tags and `*`; what is no tag matches none and harms no neighbour.

    `If-None-Match` compares weakly, `If-Match` strongly.
    """
    assert (client_has(header, tag), client_knows(header, tag)) == (has, knows)
