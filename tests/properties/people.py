"""Who is who, by loops and ifs: the truth that links, aliases, unlinks and deletes are judged by."""

from __future__ import annotations


class People:
    """Whose each id is. An id belongs to the first that claimed it; nobody is owned by an id of their own."""

    def __init__(self) -> None:
        self.owner_of: dict[str, str] = {}

    def claim(self, one: str, owner: str, has_room: bool = True) -> str | None:
        """An id is claimed for an owner; why it did not become theirs, None where it is."""
        held = self.owner_of.get(one)
        if held is not None:
            return None if held == owner else "taken"
        if one in self.above(owner):
            return "cycle"
        if not has_room:
            return "full"
        self.owner_of[one] = owner
        return None

    def unlink(self, one: str) -> str | None:
        """An id is a person of its own again; whose it was."""
        return self.owner_of.pop(one, None)

    def has_ring(self) -> bool:
        """Whether ids own each other, at any remove."""
        for one in self.owner_of:
            at: str | None = one
            for _ in range(len(self.owner_of) + 1):
                at = self.owner_of.get(at) if at else None
            if at is not None:
                return True
        return False

    def above(self, one: str) -> list[str]:
        """An id, its owner, the owner's owner, and so on."""
        found = [one]
        while found[-1] in self.owner_of:
            found.append(self.owner_of[found[-1]])
        return found

    def root_of(self, one: str) -> str:
        """The person's own id."""
        return self.above(one)[-1]

    def ids_of(self, one: str) -> set[str]:
        """Every id of the person that an id belongs to."""
        root = self.root_of(one)
        return {root} | {other for other in self.owner_of if self.root_of(other) == root}
