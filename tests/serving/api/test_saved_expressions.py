"""Questions about expressions that were saved when less was refused."""

from __future__ import annotations

import pytest

from serving.api.analyses import require_bound
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.lookups.analysis_runs import Question
from serving.refusals import Invalid

RULE = "profile.account == 9007199254740993"


def test_an_analysis_takes_what_is_saved_and_refuses_the_same_of_a_new_expression() -> None:
    """Its members are answered, so whoever looks at it can ask for all of them too."""
    catalogue = Catalogue().with_definition(StoredDefinition(kind="segment", key="old", expression=RULE))
    require_bound(Question("people", "segment", "old", RULE), catalogue)
    for key, rule in ((None, RULE), ("new", RULE), ("old", RULE.replace("993", "995"))):
        with pytest.raises(Invalid, match=r"2\^53"):
            require_bound(Question("people", "segment", key, rule), catalogue)
