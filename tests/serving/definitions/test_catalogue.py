"""Versions of a catalogue: the next one takes over what is compiled, where both define the same."""

from __future__ import annotations

import msgspec
import pytest

from expressions.definitions import Definition
from expressions.errors import SyntaxRefused, UnknownName
from expressions.ops import Constant
from expressions.text.bind import bind, bind_one
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
        assert after.bounds == bind(stored.definition for stored in after.definitions.values())


def test_a_saved_definition_binds_what_refers_to_it_alone() -> None:
    """The others keep their bounds in the process that saves, and in each that reads the new version."""
    compiled = compiled_catalogue()
    added = compiled.with_definition(StoredDefinition(kind="trait", key="views", expression="events.view.count"))
    changed = added.with_definition(StoredDefinition(kind="trait", key="views", expression="events.view.count_7d"))
    read = decode(encode(changed)).with_compiled(added)

    for after in (added, changed, read):
        assert after.bounds["flag", "offer"] is compiled.bounds["flag", "offer"]
    assert read.bounds["trait", "views"] == changed.bounds["trait", "views"] != added.bounds["trait", "views"]


@pytest.mark.parametrize(
    ("saved", "kept", "value"),
    [
        (r'"^\d+$"', '"^d+$"', "^d+$"),
        (r'"\\d\"\'\n"', r'"\\d\"' + r"\'" + 'n"', r"\d" + "\"'n"),
        (r"""coalesce('\.', "\\.")""", r"""coalesce('.', "\\.")""", None),
        (r"profile.`a\b`", r"profile.`a\b`", None),
        (r'"\\"', r'"\\"', "\\"),
        (r'"open\d', r'"open\d', None),
    ],
)
def test_a_text_that_was_saved_with_an_unknown_escape_keeps_its_meaning(saved: str, kept: str, value: object) -> None:
    """A backslash before a letter was left out when it was read; now it is refused in what is new."""
    stored = StoredDefinition(kind="trait", key="it", expression=saved)

    assert stored.expression == kept
    if value is not None:
        assert bind_one(stored.definition, {}).expr == Constant(value)  # type: ignore[arg-type]
    catalogue = Catalogue(definitions={("trait", "it"): stored})
    was = encode(catalogue).replace(msgspec.json.encode(kept), msgspec.json.encode(saved))
    assert decode(was).definitions == catalogue.definitions


def test_what_is_new_has_no_unknown_escape() -> None:
    """A pattern whose backslashes were not doubled is refused where the first stands."""
    with pytest.raises(SyntaxRefused, match=r"a backslash before d \(trait 'it', line 1, column 22\)") as refused:
        bind_one(Definition("trait", "it", r'matches(profile.n, "^\d+$")'), {})
    assert refused.value.expected == r"""d alone, or \\ for a backslash; one stands before \, " and ' only"""


def test_an_added_definition_is_bound_by_itself_and_a_projection_is_read_once() -> None:
    """What is bound stays when a definition is added, and is as it would be if all were bound anew; a changed one moves
    those that use it. Each projection of a catalogue is read and written once."""
    compiled = compiled_catalogue()
    added = compiled.with_definition(StoredDefinition(kind="segment", key="buyers", expression="orders >= 1"))

    assert added.bounds["trait", "orders"] is compiled.bounds["trait", "orders"]
    assert dict(added.bounds) == bind(stored.definition for stored in added.definitions.values())
    changed = added.with_definition(StoredDefinition(kind="trait", key="orders", expression="events.order.count_7d"))
    assert changed.bounds["segment", "buyers"].expr != added.bounds["segment", "buyers"].expr
    with pytest.raises(UnknownName):
        added.with_definition(StoredDefinition(kind="segment", key="others", expression="sells >= 1"))
    read = decode(encode(changed))
    assert read.projections == changed.projections and len(read.projections) > 1
    for (_, one), (_, other) in zip(read.projections, decode(encode(read)).projections, strict=True):
        assert one is other
