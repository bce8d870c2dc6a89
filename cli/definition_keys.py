"""Which definition a key on the command line names."""

from __future__ import annotations

from expressions.definitions import DefinitionKind, Key
from serving.definitions.catalogue import Catalogue
from serving.refusals import NotFound

KINDS: tuple[DefinitionKind, ...] = ("trait", "segment", "flag")


def definition_key(catalogue: Catalogue, text: str) -> Key:
    """The definition of a bare key: a trait before a segment before a flag. `segment:key` names the kind.

    Raises `NotFound`.
    """
    with_kind: list[Key] = [(kind, text.removeprefix(f"{kind}:")) for kind in KINDS if text.startswith(f"{kind}:")]
    for key in with_kind or [(kind, text) for kind in KINDS]:
        if key in catalogue.definitions:
            return key
    raise NotFound(f"no trait, segment or flag has the key {text}; of a user, `tinycdp explain USER KEY` tells")
