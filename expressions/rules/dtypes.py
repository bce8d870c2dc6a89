"""Types: the set of kinds a value may have.

A value of the language is null, a boolean, a number (a 64-bit float), a string, or a list of these. The type of an
expression is the set of kinds that its value may have when it runs: `{number}` for a sum, all of them for a profile
attribute. Two rules follow from sets alone. An operation is refused when *none* of the possible kinds fits. Where only
some fit, the others behave as the numbered semantics say.

An object is no value of the language. It reads as null, and its fields are reached by name.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["null", "boolean", "number", "string", "list"]
Dtype: TypeAlias = frozenset[Kind]

#: The kinds in the order in which values of different types sort (S7).
KINDS: tuple[Kind, ...] = ("null", "boolean", "number", "string", "list")

NULL: Dtype = frozenset({"null"})
BOOLEAN: Dtype = frozenset({"boolean"})
NUMBER: Dtype = frozenset({"number"})
STRING: Dtype = frozenset({"string"})
LIST: Dtype = frozenset({"list"})
ANY: Dtype = frozenset(KINDS)
SCALAR: Dtype = ANY - LIST
#: The kinds that `<` and its like compare (S3).
ORDERED: Dtype = NUMBER | STRING


def nullable(dtype: Dtype) -> Dtype:
    """The same kinds, and null."""
    return dtype | NULL


def present(dtype: Dtype) -> Dtype:
    """The kinds without null."""
    return dtype - NULL


def name(dtype: Dtype) -> str:
    """The type in words, for messages: "number", "number or string", "anything"."""
    if dtype == ANY:
        return "anything"
    kinds = [kind for kind in KINDS if kind in present(dtype)] or ["null"]
    return kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"
