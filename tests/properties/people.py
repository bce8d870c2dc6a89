"""Who is who, by loops and ifs: the truth that links, aliases, unlinks and deletes are judged by."""

from __future__ import annotations


class People:
    """Whose each id is. An id belongs to the first that claimed it; nobody is owned by an id of their own.

    `links` are the links that were made and not undone: the owner, and when it was claimed. One that was claimed before
    the owner's last delete is not in force.
    """

    def __init__(self) -> None:
        self.links: dict[str, tuple[str, int]] = {}
        self.deleted_ms: dict[str, int] = {}

    @property
    def owner_of(self) -> dict[str, str]:
        """The owners of those who have one."""
        return {id_: owner for id_, (owner, ms) in self.links.items() if ms > self.deleted_ms.get(owner, -1)}

    def delete(self, id_: str, at_ms: int) -> None:
        """A delete of an id."""
        self.links.pop(id_, None)
        self.deleted_ms[id_] = at_ms

    def claim(self, id_: str, owner: str, claimed_ms: int, has_room: bool = True) -> str | None:
        """Claims an id for an owner. Why it did not become theirs, None where it is."""
        owner_now = self.owner_of.get(id_)
        if owner_now is not None:
            return None if owner_now == owner else "taken"
        if id_ in self.above(owner):
            return "cycle"
        if not has_room:
            return "full"
        self.links[id_] = owner, claimed_ms
        return None

    def unlink(self, id_: str) -> str | None:
        """Makes an id a person of its own again. Whose it was."""
        owner, _ = self.links.pop(id_, (None, 0))
        return owner

    def has_ring(self) -> bool:
        """Whether ids own each other, at any remove."""
        owner_of = self.owner_of
        for id_ in owner_of:
            at: str | None = id_
            for _ in range(len(owner_of) + 1):
                at = owner_of.get(at) if at else None
            if at is not None:
                return True
        return False

    def above(self, id_: str) -> list[str]:
        """An id, its owner, the owner's owner, and so on; once round a ring."""
        owner_of, owners = self.owner_of, [id_]
        while (owner := owner_of.get(owners[-1])) is not None and owner not in owners:
            owners.append(owner)
        return owners

    def root_of(self, id_: str) -> str:
        """The person's own id; of ids that own each other the least."""
        owners = self.above(id_)
        back_to = self.owner_of.get(owners[-1])
        return owners[-1] if back_to is None else min(owners[owners.index(back_to) :])

    def ids_of(self, id_: str) -> set[str]:
        """Every id of the person that an id belongs to."""
        root = self.root_of(id_)
        return {root} | {other for other in self.owner_of if self.root_of(other) == root}
