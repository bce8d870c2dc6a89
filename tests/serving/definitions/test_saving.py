"""What a save refuses beside what does not bind."""

from __future__ import annotations

import pytest

from expressions.definitions import Definition
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.definitions.saving import bound_alone
from serving.refusals import Invalid

RULE = "profile.account == 9007199254740993"


def test_a_new_rule_compares_with_no_number_that_has_gaps() -> None:
    """The refusal has the place and the remedy; a text in quotes is taken."""
    with pytest.raises(Invalid, match=r"2\^53") as refused:
        bound_alone(Catalogue(), Definition("flag", "old", RULE))
    assert refused.value.details is not None and "text in quotes" in refused.value.details["remedy"]
    bound_alone(Catalogue(), Definition("flag", "old", 'profile.account == "9007199254740993"'))


def test_a_rule_that_was_saved_before_stands_until_it_is_changed() -> None:
    """So a flag with such a rule can be switched off; another such rule is refused in its place."""
    catalogue = Catalogue().with_definition(StoredDefinition(kind="flag", key="old", expression=RULE))
    bound_alone(catalogue, Definition("flag", "old", RULE))
    with pytest.raises(Invalid):
        bound_alone(catalogue, Definition("flag", "old", RULE.replace("993", "994")))
    with pytest.raises(Invalid):
        bound_alone(catalogue, Definition("flag", "new", RULE))
