"""Who is who, by loops and ifs: the truth that links, aliases, unlinks and deletes are judged by."""

from __future__ import annotations


class People:
    """Whose each id is. An id belongs to the first that claimed it; nobody is owned by an id of their own."""

    def __init__(self) -> None:
        self.owner_of: dict[str, str] = {}

    def claim(self, id_: str, owner: str, has_room: bool = True) -> str | None:
        """Claims an id for an owner. Why it did not become theirs, None where it is."""
        owner_now = self.owner_of.get(id_)
        if owner_now is not None:
            return None if owner_now == owner else "taken"
        if id_ in self.above(owner):
            return "cycle"
        if not has_room:
            return "full"
        self.owner_of[id_] = owner
        return None

    def unlink(self, id_: str) -> str | None:
        """Makes an id a person of its own again. Whose it was."""
        return self.owner_of.pop(id_, None)

    def has_ring(self) -> bool:
        """Whether ids own each other, at any remove."""
        for id_ in self.owner_of:
            at: str | None = id_
            for _ in range(len(self.owner_of) + 1):
                at = self.owner_of.get(at) if at else None
            if at is not None:
                return True
        return False

    def above(self, id_: str) -> list[str]:
        """An id, its owner, the owner's owner, and so on."""
        owners = [id_]
        while owners[-1] in self.owner_of:
            owners.append(self.owner_of[owners[-1]])
        return owners

    def root_of(self, id_: str) -> str:
        """The person's own id."""
        return self.above(id_)[-1]

    def ids_of(self, id_: str) -> set[str]:
        """Every id of the person that an id belongs to."""
        root = self.root_of(id_)
        return {root} | {other for other in self.owner_of if self.root_of(other) == root}
