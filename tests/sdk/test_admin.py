"""The admin client against a running stack, and its types against the API's OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tinycdp
from tinycdp import admin_types

from tests.running import RunningStack
from tests.sdk.scripted_server import Answer, Asked, scripted_server
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

#: The API's models by the names of the types.
MODELS = {
    "Trait": "TraitOut",
    "Segment": "RuleOut",
    "Flag": "FlagOut",
    "Metrics": "SystemMetricsOut",
    "PersonData": "DataOut",
    "DeletedPerson": "DeletedOut",
}


@pytest.fixture(scope="module")
def admin(stack: RunningStack) -> Iterator[tinycdp.Admin]:
    """An admin of the stack."""
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        yield admin


def type_names() -> list[str]:
    """The names of all types of answers."""
    return [name for name, found in vars(admin_types).items() if hasattr(found, "__required_keys__")]


def annotation(schema: dict[str, Any], models: dict[str, Any]) -> str:
    """The type of a schema as Python writes it."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if "properties" not in models[name]:
            return annotation(models[name], models)
        return {model: ours for ours, model in MODELS.items()}.get(name, name.removesuffix("Out"))
    if "anyOf" in schema:
        parts = list(dict.fromkeys(annotation(part, models) for part in schema["anyOf"]))
        return "Any" if "Any" in parts else " | ".join(sorted(parts, key=lambda part: part == "None"))
    if "enum" in schema or isinstance(schema.get("const"), str):
        return f"Literal[{', '.join(json.dumps(value) for value in schema.get('enum', [schema.get('const')]))}]"
    if schema.get("type") == "array":
        return f"list[{annotation(schema['items'], models)}]"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {annotation(values, models) if isinstance(values, dict) else 'Any'}]"
    plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    return plain.get(schema.get("type", ""), "Any")


def test_each_type_is_the_one_of_the_document(stack: RunningStack) -> None:
    """Each field of a type is in the API's model, with that type. The API may have more fields: they are added."""
    models = stack.http.get("/openapi.json").json()["components"]["schemas"]
    differing = {}
    for name in type_names():
        model = models[MODELS.get(name, name if name in models else f"{name}Out")]
        for field, found in getattr(admin_types, name).__annotations__.items():
            text = found.__forward_arg__.replace("'", '"')
            ours = text[len("NotRequired[") : -1] if text.startswith("NotRequired[") else text
            theirs = annotation(model["properties"].get(field, {"type": "missing"}), models)
            if ours != theirs:
                differing[f"{name}.{field}"] = (ours, theirs)

    assert len(type_names()) > 40
    assert differing == {}


def test_the_workspace_knows_whose_dates_count_and_who_asks(admin: tinycdp.Admin, stack: RunningStack) -> None:
    """A viewer's key is answered too, with its label."""
    made = admin.create_key("viewer", "looks")

    with tinycdp.Admin(stack.stack.api_url, made["key"]) as viewer:
        workspace = viewer.workspace()

    assert workspace["time_zone"] == "UTC"
    assert workspace["key"] == {"id": made["id"], "kind": "viewer", "label": "looks"}
    assert admin.workspace()["key"]["kind"] == "admin"


def test_a_definition_is_made_changed_and_brought_back(admin: tinycdp.Admin) -> None:
    """It is read as it was saved; a change that leaves settings out keeps them; an old version comes back."""
    made = admin.create_trait("adm_orders", "events.adm_order.count", owner="shop")
    changed = admin.change_trait("adm_orders", "events.adm_order.count_7d", version=made["version"])
    assert (changed["expression"], changed["owner"]) == ("events.adm_order.count_7d", "shop")
    assert admin.definition("trait", "adm_orders")["version"] == changed["version"]

    rolled_back = admin.rollback("trait", "adm_orders", made["version"])

    assert rolled_back["version"] > changed["version"]
    assert admin.history("trait", "adm_orders")[0]["expression"] == "events.adm_order.count"
    assert "adm_orders" in [trait["key"] for trait in admin.definitions("trait")]


def test_a_change_of_a_version_that_is_no_longer_is_refused(admin: tinycdp.Admin) -> None:
    """Two admins read the same version: the second to save is told, and the first one's save stands."""
    read = admin.create_flag("adm_flag", "true")
    admin.change_flag("adm_flag", enabled=False, version=read["version"])

    with pytest.raises(tinycdp.PreconditionFailed) as refused:
        admin.change_flag("adm_flag", "false", version=read["version"])

    assert (refused.value.status, refused.value.field) == (412, "If-Match")
    assert refused.value.details["definition"] == admin.definition("flag", "adm_flag")
    assert admin.definition("flag", "adm_flag")["enabled"] is False
    newer = refused.value.details["version"]
    for save in (
        lambda: admin.delete_definition("flag", "adm_flag", version=read["version"]),
        lambda: admin.rollback("flag", "adm_flag", read["version"], current=read["version"]),
    ):
        with pytest.raises(tinycdp.PreconditionFailed):
            save()
    assert admin.rollback("flag", "adm_flag", read["version"], current=newer)["enabled"] is True


def test_none_takes_a_setting_of_a_flag_back(admin: tinycdp.Admin) -> None:
    """A change that does not name the rule keeps it; None takes it back, and the flag is for everybody."""
    admin.create_flag("adm_back", "false", description="first")

    assert admin.change_flag("adm_back", description=None)["rule"] == "false"
    assert admin.change_flag("adm_back", None)["rule"] != "false"


def test_a_mistake_in_an_expression_has_its_place(admin: tinycdp.Admin) -> None:
    """The error carries field, line and column; validating says the same without raising."""
    with pytest.raises(tinycdp.InvalidRequest) as refused:
        admin.create_segment("adm_wrong", "events.purchase.cuont >= 1")

    assert (refused.value.field, refused.value.line, refused.value.column) == ("rule", 1, 17)
    checked = admin.validate("segment", "events.purchase.cuont >= 1")
    assert (checked["valid"], checked["details"]["column"]) == (False, 17)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda admin: admin.definition("trait", "adm_none"), tinycdp.NotFound),
        (lambda admin: admin.user("adm-nobody"), tinycdp.NotFound),
        (lambda admin: admin.create_key("owner"), tinycdp.InvalidRequest),
        (lambda admin: admin.revoke_key("configured:admin"), tinycdp.Conflict),
        (lambda admin: admin.preview("trait", "1 +"), tinycdp.InvalidRequest),
    ],
    ids=["definition", "user", "kind of key", "configured key", "expression"],
)
def test_a_refusal_is_an_error_of_its_kind(admin: tinycdp.Admin, call: Any, error: type[tinycdp.ApiError]) -> None:
    """What the API refuses is raised, with its message."""
    with pytest.raises(error) as refused:
        call(admin)

    assert refused.value.message


def test_a_key_of_another_kind_and_no_server(stack: RunningStack, admin: tinycdp.Admin) -> None:
    """A read key is `Forbidden`, an unknown one `Unauthenticated`, and nobody at the address `Unreachable`."""
    key = admin.create_key("profile", "adm")
    for text, error in ((key["key"], tinycdp.Forbidden), ("unknown", tinycdp.Unauthenticated)):
        with tinycdp.Admin(stack.stack.api_url, text) as other, pytest.raises(error):
            other.list_keys()
    admin.revoke_key(key["id"])
    assert next(one for one in admin.list_keys() if one["id"] == key["id"])["revoked_at"]

    with tinycdp.Admin("http://127.0.0.1:9", "k") as nobody, pytest.raises(tinycdp.Unreachable):
        nobody.metrics()


def cut(_: Asked) -> Answer:
    """No answer: the connection ends."""
    return None


def from_a_proxy(_: Asked) -> Answer:
    """What nginx answers when the API behind it takes too long."""
    return 504, {}, b"<html>504 Gateway Time-out</html>"


def dripping(_: Asked) -> Answer:
    """An answer that is not whole in time."""
    return 200, {}, [b"{", *[b" "] * 40, b"}"]


@pytest.mark.parametrize("answer", [cut, from_a_proxy, dripping])
def test_a_change_without_an_answer_may_have_been_made(answer: Callable[[Asked], Answer]) -> None:
    """It was sent, so nobody knows: the error says so. A question changes nothing, whatever its method."""
    with scripted_server(answer) as server, tinycdp.Admin(server.url, "k", timeout_s=0.5) as admin:
        with pytest.raises(tinycdp.Unreachable) as unknown:
            admin.change_segment("loyal", "true")
        with pytest.raises((tinycdp.Unreachable, tinycdp.Unavailable)) as asked:
            admin.validate("segment", "true")

    assert unknown.value.may_be_done
    assert not getattr(asked.value, "may_be_done", False)


def test_a_change_that_was_never_sent_was_not_made() -> None:
    """Nobody listens at the address: it can be sent again at once."""
    with tinycdp.Admin("http://127.0.0.1:9", "k") as nobody, pytest.raises(tinycdp.Unreachable) as refused:
        nobody.delete_user("ada")

    assert not refused.value.may_be_done


def test_a_change_waits_as_long_as_it_is_told() -> None:
    """An answer that a question is too impatient for is the answer of a change."""
    answer = b'{"segment": {"key": "loyal"}}'

    def slowly(_: Asked) -> Answer:
        return 200, {}, [answer[:5], *[b""] * 18, answer[5:]]

    with (
        scripted_server(slowly) as server,
        tinycdp.Admin(server.url, "k", timeout_s=0.3, change_timeout_s=30) as admin,
    ):
        with pytest.raises(tinycdp.Unreachable):
            admin.definition("segment", "loyal")
        assert admin.change_segment("loyal", "true") == {"key": "loyal"}


@pytest.mark.deep
def test_people_are_found_shown_and_deleted(stack: RunningStack, admin: tinycdp.Admin, tmp_path: Path) -> None:
    """A user with a slash in the id is found, read in pages, exported, and gone after the delete."""
    user = "adm/ada lovelace"
    admin.create_segment("adm_travellers", "events.adm_travelled.count >= 1")
    for _ in range(3):
        stack.track(user, "adm_travelled")
    wait_until(lambda: not admin.traits(user)["warming"], "the definitions are ready")

    wait_until(lambda: admin.search_users("adm/ada")["total"] == 1, "the search finds the user")
    assert admin.user(user)["eventCounts"]["total"] == 3
    assert admin.identity(user)["id"] == f"user:{user}"
    assert len(list(admin.events_of(user, page=2))) == 3
    assert admin.traits(user)["segments"]["adm_travellers"] is True
    exported = admin.export_segment("adm_travellers", tmp_path / "members.csv")
    assert exported["userCount"] == 1
    assert "adm/ada lovelace" in (tmp_path / "members.csv").read_text()

    assert admin.delete_user(user)["success"]

    with pytest.raises(tinycdp.NotFound):
        admin.person_data(user)


def test_how_the_stack_is(admin: tinycdp.Admin) -> None:
    """Health, totals, and the log of what admins did."""
    assert admin.health()["status"] == "ok"
    assert admin.metrics()["traits"]["definitionCount"] >= 0
    made = admin.create_key("read", "adm-audited")
    assert admin.audit(limit=1)["entries"][0]["key"] == made["id"]
    assert admin.preview("segment", "true")["total"] >= 0
