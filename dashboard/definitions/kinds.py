"""The three kinds of definitions, as screens name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinycdp import Admin
from tinycdp.admin import DefinitionKind

from dashboard.answers import remembered

#: Definitions that a stack may have together, by default and as many as one answer gives.
LIST_MAX = 1_000


@dataclass(frozen=True)
class Kind:
    """`field` is the one that holds the expression."""

    name: DefinitionKind
    title: str
    field: str
    is_what: str
    example: str
    example_key: str

    @property
    def path(self) -> str:
        """The screen that shows them."""
        return f"{self.name}s"


TRAIT = Kind(
    "trait", "Traits", "expression", "a value per user, computed from events", "events.purchase.count_30d", "orders_30d"
)
SEGMENT = Kind("segment", "Segments", "rule", "a rule over traits; users are in it or not", "orders_30d >= 2", "loyal")
FLAG = Kind("flag", "Flags", "rule", "a switch; the answer depends on the user", 'segment("loyal")', "free_shipping")


@remembered(30)
def definitions(admin: Admin, kind: DefinitionKind) -> list[dict[str, Any]]:
    """All definitions of a kind, by key."""
    found: list[dict[str, Any]] = []
    while True:
        page = admin.definitions(kind, limit=LIST_MAX, offset=len(found))
        found += page
        if len(page) < LIST_MAX:
            return found


@remembered(30)
def definition(admin: Admin, kind: DefinitionKind, key: str) -> dict[str, Any]:
    """One definition. Raises `NotFound`."""
    return dict(admin.definition(kind, key))


@remembered(30)
def versions(admin: Admin, kind: DefinitionKind, key: str) -> list[dict[str, Any]]:
    """Every version of a definition, the newest first."""
    return [dict(version) for version in admin.history(kind, key)]
