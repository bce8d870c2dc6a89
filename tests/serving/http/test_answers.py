"""Refusals as answers."""

from __future__ import annotations

from serving.http.answers import STATUSES, refusal_answer
from serving.refusals import NotFound, Refusal, TooMany, Unauthenticated


def test_every_refusal_has_a_status() -> None:
    """Domain code raises refusals and knows no status, so a new kind of refusal needs a row in the table."""
    assert set(Refusal.__subclasses__()) == set(STATUSES)


def test_headers_say_when_to_try_again_and_how_to_log_in() -> None:
    """Retry-After and its older name after 429; how a key is sent after 401; neither elsewhere."""
    names = ("retry-after", "x-ratelimit-reset", "www-authenticate")

    def headers(refusal: Refusal) -> tuple[str | None, ...]:
        answer = refusal_answer(refusal)
        return tuple(answer.headers.get(name) for name in names)

    assert headers(TooMany("full", None, 10)) == ("10", "10", None)
    assert headers(Unauthenticated("who?")) == (None, None, "Bearer")
    assert headers(NotFound("nowhere")) == (None, None, None)
