"""`tinycdp rejected`: refused events, by way of the API of the stack that runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.terminal import AWAY, WRONG, fail, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tinycdp

#: Characters of an event's text in a line.
TEXT_CHARACTERS_MAX = 100


def refused_events(reason: str | None, limit: int) -> dict[str, Any]:
    """A page of refused events of the last week, with their numbers by reason and by where they came from."""
    with _admin() as admin:
        return dict(admin.rejected(reason=reason, limit=limit))


def send_again(ids: Sequence[str] | None, reason: str | None) -> dict[str, Any]:
    """What became of refused events of some ids that were sent again, or of all of a reason."""
    with _admin() as admin:
        done = admin.redrive(ids, reason=reason)
        more = done
        while more["left"] and more["redriven"] + more["duplicates"]:  # else the oldest are all refused again
            more = admin.redrive(reason=reason)
            done = {
                "redriven": done["redriven"] + more["redriven"],
                "duplicates": done["duplicates"] + more["duplicates"],
                "refused": more["refused"],
                "left": more["left"],
            }
        return dict(done)


def page_text(page: Mapping[str, Any]) -> str:
    """The page for people: reasons, origins, then events."""
    lines = [f"{page['total']:,} refused in the last week, {page['waiting']:,} more wait for the drain"]
    lines += [f"{of['count']:>9,}  {one_line(of['reason'])}" for of in page["reasons"]]
    lines += [f"{of['count']:>9,}  from {one_line(_origin(of))}" for of in page["sources"]]
    for event in page["rejected"]:
        state = "cut" if event["cut"] else f"sent again {event['redriven_at']}" if event["redriven_at"] else ""
        lines.append(f"{event['received_at']}  {event['id'] or '-'}  {one_line(event['reason'])}  {state}".rstrip())
        lines.append(f"    {one_line((event['event'] or '')[:TEXT_CHARACTERS_MAX])}")
    return "\n".join(lines)


def redriven_text(body: Mapping[str, Any]) -> str:
    """What became of events that were sent again, for people."""
    lines = [f"{body['redriven']:,} taken, {body['duplicates']:,} had been taken, {len(body['refused']):,} refused"]
    return "\n".join([*lines, *(f"{refused['id']}  {one_line(refused['message'])}" for refused in body["refused"])])


def _origin(of: Mapping[str, Any]) -> str:
    return of["source"] if of["path"] is None else f"{of['path']}, key {of['key']}"


@contextmanager
def _admin() -> Iterator[tinycdp.Admin]:
    """The admin client of the stack on this home; else of `TINYCDP_URL`. Ends the command where there is neither."""
    import tinycdp

    from cli.stack import running_stack
    from serving.access.keys import raw_keys
    from serving.settings import settings_of_environment

    settings = settings_of_environment()
    stack = running_stack(settings)
    try:
        if stack is None:
            admin = tinycdp.Admin()
        else:
            admin = tinycdp.Admin(stack.api_url, raw_keys(settings)["admin"])
    except tinycdp.ConfigurationError as error:
        fail(f"no stack runs here, and {error}: start one with `tinycdp up`, or set TINYCDP_URL", AWAY)
    with admin:
        try:
            yield admin
        except (tinycdp.Unreachable, tinycdp.Unavailable) as error:
            fail(str(error), AWAY)
        except tinycdp.TinyCDPError as error:
            fail(str(error), WRONG)
