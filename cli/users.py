"""`tinycdp users`: for whom a definition holds, as the lake knows it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cli.definition_keys import definition_key
from cli.terminal import err, one_line, say_json
from expressions.batch.counting import counted
from expressions.batch.frames import person_answers, users_where
from lake.lake import Lake
from serving.definitions.saving import current
from serving.history import with_deletes
from serving.ids import named_as
from serving.store.store import Store


def users_having(store: Store, lake: Lake, text: str, at_ms: int) -> list[str]:
    """User ids, sorted, for whom a definition holds at an instant, from all rows now in the lake.

    A value that is not boolean holds by rule S4. An id of another kind has its prefix, `anon:…`, and so has the id of a
    user that reads like one of those. Raises `NotFound` for a key that nothing has.
    """
    catalogue = current(store)
    key = definition_key(catalogue, text)
    undrained = store.undrained_deletes()  # before the version is looked up, which then has all others
    events = counted(with_deletes(lake.events(lake.events_version()), undrained))
    users = users_where(person_answers(events, [catalogue.bounds[key]], at_ms, catalogue.zone), key)
    return [named_as(record_id) for record_id in users.get_column("id").to_list()]


def say_rule_alone(flag: str) -> None:
    """Says on standard error what is not asked of a flag, and who asks all of it."""
    text = f"of flag {flag} the rule alone is asked; GET /v1/admin/flags/{flag}/people asks the whole flag"
    err.print(text, markup=False, soft_wrap=True)


def say_users(name: str, ids: Sequence[str], as_json: bool) -> None:
    """Prints for whom a definition holds, an id a line; for scripts all in one document."""
    if as_json:
        say_json({"users": ids})
    elif ids:
        sys.stdout.write("".join(f"{one_line(id)}\n" for id in ids))  # a long id is not broken, as people's texts are
    else:
        err.print(f"{name} holds for nobody", markup=False)
