"""What was accepted as an id can be asked for, linked and deleted: over HTTP, by the command line and the client."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import tinycdp
from hypothesis import given
from hypothesis import strategies as st
from tinycdp.admin import Admin

from serving.ids import ID_CHARACTERS_MAX, ID_KINDS, checked_record, email_hash_of, namespaced, raw_id
from serving.refusals import Invalid
from tests.chance import part_of_examples, seeded
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")

#: Ids as apps send them: any text that is not blank, and the longest ones most of all.
ids = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.sampled_from(["x", "ä", "🐌", "İ", "/", "%", "a/identity/", "anon:", "?#&=", " . ", "\n"]).map(
        lambda piece: (piece * ID_CHARACTERS_MAX)[:ID_CHARACTERS_MAX]
    ),
).filter(lambda text: text.strip() != "")
FIELDS = {"user": "userId", "anon": "anonymousId", "email": "emailHash"}


@seeded
@given(st.sampled_from(ID_KINDS), ids)
def test_an_id_with_its_kind_names_its_record(kind: str, id: str) -> None:
    """The longest id that an event may have is found by its kind and itself; one that is longer is refused."""
    value = email_hash_of(id) if kind == "email" else id
    record = namespaced(kind, value)  # type: ignore[arg-type]

    assert checked_record("userId", f"{kind}:{id}") == record
    assert checked_record("userId", record) == record, "as answers show it"
    assert raw_id(record) == (kind, value)
    with pytest.raises(Invalid, match="userId"):
        checked_record("userId", f"{kind}:{'x' * (2 * ID_CHARACTERS_MAX + 1)}")


@pytest.mark.deep
@part_of_examples(10)
@given(kind=st.sampled_from(ID_KINDS), id=ids)
def test_what_was_accepted_can_be_read_linked_and_deleted(stack: RunningStack, kind: str, id: str) -> None:
    """Each route about a person finds an id that an event named, by the text that answers have for it."""
    value = email_hash_of(id) if kind == "email" else id
    record = namespaced(kind, value)  # type: ignore[arg-type]
    sent = stack.call("POST", "/v1/track", "write", json={FIELDS[kind]: id, "event": "e"})
    assert sent.status_code == 200, sent.text
    with Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        assert record in [one["id"] for one in admin.identity(record)["ids"]]
        assert admin.user(record)["id"]
        assert admin.person_data(record)["id"]
        assert admin.decisions(record)["userId"] == record
        assert admin.person_events(record)["events"] is not None
        assert stack.call("GET", f"/v1/users/{quote(record, safe='')}/traits").status_code == 200
        assert admin.rebuild(ids=[record])
        context = {"context": {"targetingKey": record}}
        assert stack.call("POST", "/ofrep/v1/evaluate/flags", "read", json=context).status_code == 200
        flag = {"key": "named_by_id", "rule": "false", "users": {record: True}}
        assert stack.call("POST", "/v1/admin/flags", json=flag).status_code == 200
        assert stack.call("DELETE", "/v1/admin/flags/named_by_id").status_code == 200
        if kind != "user":
            alias = {"userId": "owner-of-long-ids", "previousId": record}
            assert stack.call("POST", "/v1/alias", "write", json=alias).status_code == 200
            assert admin.unlink(record)["id"] == record
        assert admin.delete_user(record)["success"]


def test_the_command_line_finds_the_longest_ids(stack: RunningStack) -> None:
    """`tinycdp explain` takes an id with its kind, however long; `purge --id` does in `tests/cli/test_purge.py`."""
    stack.define("trait", "of_long_ids", "events.long.count")
    id = "L" * ID_CHARACTERS_MAX
    stack.call("POST", "/v1/track", "write", json={"anonymousId": id, "event": "long"})

    assert stack.json("explain", f"anon:{id}", "of_long_ids")["explanation"]["value"] == 1


def test_the_client_asks_for_the_longest_ids(stack: RunningStack) -> None:
    """The Python client decides for the longest id of each kind that it can name."""
    longest = "🐌" * ID_CHARACTERS_MAX
    stack.define("flag", "for_everybody", "true")
    with tinycdp.Client(stack.stack.api_url, stack.keys["write"], stack.keys["read"], decide_timeout_s=30) as client:
        assert client.decide(longest, "for_everybody", False).allow
        assert client.decide(None, "for_everybody", False, anonymous_id=longest).allow
