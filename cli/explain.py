"""`tinycdp explain`: why a user has the value of a trait, a segment or a flag."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.tree import Tree

from cli.definition_keys import definition_key
from cli.terminal import one_line
from expressions.live.explain import explained
from serving.api.wire.flags import wire_decision
from serving.definitions.saving import current
from serving.ids import record_of
from serving.people.decide import Decider
from serving.people.gather import gather
from serving.people.person import DecodedBases, Person, person
from serving.store.store import Store
from serving.times import rfc3339


def explanation(store: Store, user: str, text: str) -> dict[str, Any]:
    """The tree of a definition for a user as `explanation`, and what the answer rests on.

    A flag has its `decision` too, and the tree has its `steps`. `known` is false of a user of whom nothing was ever
    sent: the answer is the one that such a user gets. Raises `NotFound` for a key that nothing has.
    """
    who = live_person(store, user)
    key = definition_key(who.catalogue, text)
    answers = who.answers([key])
    body = {
        "user": user,
        "known": any(record.has_events or record.base is not None for record in who.reading.records),
        "now": who.now_ms,
        "exact": answers.exact,
        "warming": bool(answers.warming),
        "asof": answers.asof,
    }
    if key[0] != "flag":
        return body | {"explanation": explained(who.catalogue.bounds, key, who.frame, answer=answers.values[key])}
    record_id = record_of(user)
    device = record_id if record_id.startswith("anon:") else None
    decision = Decider(who, device, with_tree=True).decision(key[1])
    answer = wire_decision(key[1], user, decision)  # a rule that says yes is one step of several
    return body | {"explanation": answer.pop("explanation"), "decision": answer}


def live_person(store: Store, user: str) -> Person:
    """A user as the API sees them now."""
    catalogue = current(store)
    return person(store.follow(gather(store.operations, record_of(user))), catalogue, DecodedBases())


def explanation_tree(body: dict[str, Any]) -> Tree:
    """An explanation for people."""
    root = body["explanation"]
    marks = [
        mark
        for mark, holds in (
            ("nobody is known by this id", not body["known"]),
            ("warming", body["warming"]),
            ("not exact", not body["exact"]),
        )
        if holds
    ]
    heading = f"{one_line(body['user'])}: {root['kind']} {root['key']}" + (f" ({', '.join(marks)})" if marks else "")
    tree = Tree(escape(heading))
    decision = body.get("decision")
    if decision is not None:
        branch = tree.add(escape(f"{'yes' if decision['allow'] else 'no'}, {decision['reason']}"))
        for reason in decision["reasons"]:
            branch.add(escape(reason))
    _grow(tree, root)
    return tree


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    line = node["text"]
    if "value" in node:  # a rule has none where the flag decides before it
        line += f"  =  {node['value']!r}"
    if "changes_at" in node:
        line += f"   changes at {rfc3339(node['changes_at'])} unless something happens"
    if "left_out" in node:
        line += f"   and {node['left_out']} more"
    branch = tree.add(escape(line))
    if "not_explained_further" in node:
        branch.add(escape(f"not explained further: {node['not_explained_further']}"))
    if "definition" in node:
        _grow(branch, node["definition"])
    for part in node.get("parts", ()):
        _grow(branch, part)
