"""Versions of a catalogue: what one has compiled serves the next, where both define the same."""

from __future__ import annotations

from serving.definitions.catalogue import Catalogue, StoredDefinition, decode, encode
from serving.store.stamps import Covered


def catalogue() -> Catalogue:
    """A trait and a flag, read once."""
    found = Catalogue()
    for kind, key, expression in (("trait", "orders", "events.order.count"), ("flag", "offer", "orders > 2")):
        found = found.with_definition(StoredDefinition(kind=kind, key=key, expression=expression))  # type: ignore[arg-type]
    assert found.program and found.flags and found.needed_versions
    return found


def test_a_version_after_a_rebuild_is_not_compiled_again() -> None:
    """What a rebuild changes, which is what is covered, is new; all that is compiled is the one at hand."""
    held = catalogue()
    after = decode(encode(held.with_covered([Covered(1, 2, 3, 4, 1)]))).with_compiled(held)

    assert after.program is held.program
    assert after.needed_versions is held.needed_versions
    assert after.covered == (Covered(1, 2, 3, 4, 1),)
    assert after.version == held.version + 1


def test_another_definition_is_compiled() -> None:
    """One more, or one that says something else."""
    held = catalogue()
    for key, expression in (("orders", "events.order.count_7d"), ("views", "events.view.count")):
        stored = StoredDefinition(kind="trait", key=key, expression=expression)
        after = decode(encode(held.with_definition(stored))).with_compiled(held)

        assert after.program is not held.program
        assert after.bounds["trait", key].definition.expression == expression
