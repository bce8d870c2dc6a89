"""Versions of a catalogue: the next one takes over what is compiled, where both define the same."""

from __future__ import annotations

from serving.definitions.catalogue import Catalogue, StoredDefinition, decode, encode
from serving.store.stamps import Covered


def compiled_catalogue() -> Catalogue:
    """A trait and a flag, with everything compiled."""
    catalogue = Catalogue()
    for kind, key, expression in (("trait", "orders", "events.order.count"), ("flag", "offer", "orders > 2")):
        catalogue = catalogue.with_definition(StoredDefinition(kind=kind, key=key, expression=expression))  # type: ignore[arg-type]
    assert catalogue.program and catalogue.flags and catalogue.needed_versions
    return catalogue


def test_a_version_after_a_rebuild_is_not_compiled_again() -> None:
    """A rebuild changes what is covered; everything compiled is taken from the catalogue at hand."""
    compiled = compiled_catalogue()
    after = decode(encode(compiled.with_covered([Covered(1, 2, 3, 4, 1)]))).with_compiled(compiled)

    assert after.program is compiled.program
    assert after.needed_versions is compiled.needed_versions
    assert after.covered == (Covered(1, 2, 3, 4, 1),)
    assert after.version == compiled.version + 1


def test_another_definition_is_compiled() -> None:
    """A changed definition is compiled, and so is an added one."""
    compiled = compiled_catalogue()
    for key, expression in (("orders", "events.order.count_7d"), ("views", "events.view.count")):
        stored = StoredDefinition(kind="trait", key=key, expression=expression)
        after = decode(encode(compiled.with_definition(stored))).with_compiled(compiled)

        assert after.program is not compiled.program
        assert after.bounds["trait", key].definition.expression == expression
