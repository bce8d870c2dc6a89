"""The admin client: definitions, people, exports, keys, and how the stack is, by an admin's key.

Each call is one request, and answers with what the API says, typed. A refusal is an `ApiError` with field, value and
remedy, and of an expression with line and column. No answer is `Unreachable`; its `may_be_done` is true of a change
that was sent. Nothing is sent a second time by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import quote, urlencode

from . import admin_types as types
from ._http import FAILED, NOT_SENT, Ask, TooLarge, client_of, download, exchange, headers_of, reason_of
from ._settings import settings_of
from .errors import AnswerTooLarge, ConfigurationError, Unreachable, api_error

DefinitionKind: TypeAlias = Literal["trait", "segment", "flag"]
KeyKind: TypeAlias = Literal["write", "read", "profile", "viewer", "admin"]
AnalysisKind: TypeAlias = Literal["trend", "overlap", "impact", "people"]
ValidatePart: TypeAlias = Literal["tree", "completions", "text", "warnings", "cost"]
Definition: TypeAlias = types.Trait | types.Segment | types.Flag

#: How often the state of an export is asked for.
LOOK_S = 0.2
#: Calls that ask, though they have a body.
_QUESTIONS = frozenset({"/v1/admin/validate", "/v1/admin/preview", "/v1/admin/analyses"})
#: What a proxy answers for an API that gave it no answer.
_NOT_FROM_THE_API = (502, 504)
#: In place of a setting that is not given: None takes a setting back.
_UNCHANGED: Any = object()


#: Events of a person that are asked for at once, and how many of the largest fit into an answer (of 32 KiB each).
EVENTS_MAX, EVENTS_THAT_FIT = 10_000, 400


class Admin:
    """Administers a stack. Safe for threads; to be closed, or used in a `with`.

    `url` and `key` may also come from the environment, `TINYCDP_URL` and `TINYCDP_ADMIN_KEY`. A call waits `timeout_s`
    for its answer, 30 s if not said otherwise. One that changes something waits `change_timeout_s`, if that is given.
    Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float | None = None,
        change_timeout_s: float | None = None,
    ) -> None:
        settings = settings_of(url=url, admin_key=key, timeout_s=30.0 if timeout_s is None else timeout_s)
        if settings.admin_key is None:
            raise ConfigurationError("admin_key: not set; give one, or set TINYCDP_ADMIN_KEY")
        self._key, self._timeout_s = settings.admin_key, settings.timeout_s
        self._change_timeout_s = settings.timeout_s if change_timeout_s is None else change_timeout_s
        self._http = client_of(settings.url, settings.timeout_s)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded answer of any call of the API; None for an empty one. Raises `ApiError`, `Unreachable`."""
        named = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(named, doseq=True)}" if named else path
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        ask = Ask(method, target, {**headers_of(self._key), **(headers or {})}, content)
        is_change = method != "GET" and path not in _QUESTIONS
        try:
            reply = exchange(self._http, ask, self._change_timeout_s if is_change else self._timeout_s)
        except TooLarge as error:
            if not is_change:
                raise AnswerTooLarge(f"{method} {path}: {error}; ask for less, with a smaller limit") from error
            raise Unreachable(f"{method} {path}: {reason_of(error)}", may_be_done=True) from error
        except FAILED as error:
            may_be_done = is_change and not isinstance(error, NOT_SENT)
            raise Unreachable(f"{method} {path}: {reason_of(error)}", may_be_done=may_be_done) from error
        if is_change and reply.status in _NOT_FROM_THE_API:
            raise Unreachable(f"{method} {path}: a proxy answered {reply.status}", may_be_done=True)
        if reply.status != 200:
            raise api_error(reply.status, reply.decoded(), reply.retry_after)
        return reply.json()

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────────

    def create_trait(self, key: str, expression: str, **settings: Any) -> types.Trait:
        """A new trait. `settings`: description, owner, tags, and `note` for the history.

        Raises `Conflict` where the key is taken.
        """
        return cast(types.Trait, self._create("trait", {"key": key, "expression": expression, **settings}))

    def create_segment(self, key: str, rule: str, **settings: Any) -> types.Segment:
        """A new segment, with the settings of a trait. Raises `Conflict` where the key is taken."""
        return cast(types.Segment, self._create("segment", {"key": key, "rule": rule, **settings}))

    def create_flag(self, key: str, rule: str | None = None, **settings: Any) -> types.Flag:
        """A new flag, for everybody without a rule. `settings` also: variants, rollout, default, and so on."""
        return cast(types.Flag, self._create("flag", {"key": key, "rule": rule, **settings}))

    def _create(self, kind: DefinitionKind, body: Mapping[str, Any]) -> Any:
        return self.call("POST", f"/v1/admin/{kind}s", body)[kind]

    def change_trait(self, key: str, expression: str, *, version: int | None = None, **settings: Any) -> types.Trait:
        """Changes a trait; settings that are not given stay. For `version` see `change_flag`."""
        return cast(types.Trait, self._change("trait", key, {"expression": expression, **settings}, version))

    def change_segment(self, key: str, rule: str, *, version: int | None = None, **settings: Any) -> types.Segment:
        """Changes a segment; settings that are not given stay. For `version` see `change_flag`."""
        return cast(types.Segment, self._change("segment", key, {"rule": rule, **settings}, version))

    def change_flag(
        self, key: str, rule: str | None = _UNCHANGED, *, version: int | None = None, **settings: Any
    ) -> types.Flag:
        """Changes a flag; what is not given stays, and None takes a setting back.

        `version`: the one that was read. Raises `PreconditionFailed` where somebody saved another one meanwhile, with
        it in `details["definition"]`; the server decides that together with the save.
        """
        body = settings if rule is _UNCHANGED else {"rule": rule, **settings}
        return cast(types.Flag, self._change("flag", key, body, version))

    def _change(self, kind: DefinitionKind, key: str, body: Mapping[str, Any], version: int | None) -> Any:
        return self.call("PUT", _path(f"/v1/admin/{kind}s", key), body, headers=_if_match(version))[kind]

    def definition(self, kind: DefinitionKind, key: str) -> Definition:
        """A definition. Raises `NotFound`."""
        return cast(Definition, self.call("GET", _path(f"/v1/admin/{kind}s", key))[kind])

    def definitions(self, kind: DefinitionKind, *, limit: int | None = None, offset: int | None = None) -> list[Any]:
        """The definitions of a kind, by key: `Trait`, `Segment` or `Flag`."""
        found = self.call("GET", f"/v1/admin/{kind}s", query={"limit": limit, "offset": offset})[f"{kind}s"]
        return cast(list[Any], found)

    def delete_definition(
        self, kind: DefinitionKind, key: str, *, version: int | None = None, note: str | None = None
    ) -> None:
        """Deletes a definition. Raises `Conflict`, which names them, while others use it.

        For `version` see `change_flag`; `note` says why.
        """
        self.call("DELETE", _path(f"/v1/admin/{kind}s", key), query={"note": note}, headers=_if_match(version))

    def validate(
        self,
        kind: DefinitionKind,
        expression: str | None = None,
        *,
        tree: Mapping[str, Any] | None = None,
        parts: Sequence[ValidatePart] | None = None,
        position: int | None = None,
        key: str | None = None,
    ) -> types.Validated:
        """Whether an expression may be saved, with the places of its mistakes, its type, warnings and cost.

        `parts` names what is answered instead of warnings and cost, which alone read the lake: an editor asks for
        `["completions"]` at a `position`, for the `text` as it is formatted, for the `tree`. A `tree` is sent in place
        of the expression, and its text is answered. `key` is the one to save under.
        """
        fields = {"expression": expression, "tree": tree, "parts": parts, "position": position, "key": key}
        sent = {name: value for name, value in fields.items() if value is not None}
        return cast(types.Validated, self.call("POST", "/v1/admin/validate", {"type": kind, **sent}))

    def vocabulary(self) -> types.Vocabulary:
        """The names that expressions are made of: in the lake, of definitions and of the language."""
        return cast(types.Vocabulary, self.call("GET", "/v1/admin/vocabulary"))

    def values(
        self,
        *,
        event: str | None = None,
        property: str | None = None,
        attribute: str | None = None,
        path: Sequence[str] = (),
    ) -> types.Values:
        """Examples of values of an event's property, or of an attribute (or of names inside its value), read now."""
        query = {"event": event, "property": property, "attribute": attribute, "path": list(path) or None}
        return cast(types.Values, self.call("GET", "/v1/admin/vocabulary/values", query=query))

    def preview(self, kind: DefinitionKind, expression: str, *, sample: int = 10) -> types.Preview:
        """For how many people an expression holds, and some of them."""
        body = {"type": kind, "expression": expression, "sample": sample}
        return cast(types.Preview, self.call("POST", "/v1/admin/preview", body))

    def start_analysis(
        self,
        analysis: AnalysisKind,
        kind: DefinitionKind,
        key: str | None = None,
        *,
        expression: str | None = None,
        flag: Mapping[str, Any] | None = None,
        deleted: bool = False,
        version: int | None = None,
    ) -> types.Analysis:
        """Starts a question about everybody, of a saved definition or an unsaved text. `analysis` says how far it is.

        "trend": for how many people it held at the end of each of the last 90 days. "overlap": how many of those for
        whom it holds now are in each other segment. "impact": for whom an edit of the definition `key` would change
        anything, in it and in all that uses it; `flag` has the settings of a flag that the edit changes; in place
        of both, `deleted` asks of a delete, and `version` of a rollback. "people": for how many it holds now, and the
        first 5,000 by id; of a saved flag whom it allows, by variant.
        """
        body: dict[str, Any] = {"analysis": analysis, "kind": kind, "key": key, "expression": expression, "flag": flag}
        if deleted:
            body["deleted"] = True
        if version is not None:
            body["version"] = version
        return cast(types.Analysis, self.call("POST", "/v1/admin/analyses", body))

    def analysis(self, analysis_id: str) -> types.Analysis:
        """How far an analysis is, and its result once its `state` is done."""
        return cast(types.Analysis, self.call("GET", _path("/v1/admin/analyses", analysis_id)))

    def cancel_analysis(self, analysis_id: str) -> types.Analysis:
        """Cancels an analysis, unless it has ended, and forgets it."""
        return cast(types.Analysis, self.call("DELETE", _path("/v1/admin/analyses", analysis_id)))

    def flag_people(
        self, key: str, *, variant: str | None = None, limit: int | None = None, offset: int | None = None
    ) -> types.FlagPeople:
        """How many people a flag allows now, by variant, and a page of them by id.

        Raises `NotFound`; and `Conflict` over more than a million events: `start_analysis` "people" then.
        """
        query = {"variant": variant, "limit": limit, "offset": offset}
        return cast(types.FlagPeople, self.call("GET", _path("/v1/admin/flags", key, "people"), query=query))

    def segment_members(self, key: str, *, limit: int | None = None, cursor: str | None = None) -> types.SegmentMembers:
        """How many people are in a segment, and a page of them by id; the next one by the `cursor`.

        Over more than a million events it is as of the last full rebuild. Raises `NotFound`; and `Conflict` where that
        rebuild did not know the rule: `start_analysis` "people" then.
        """
        query = {"limit": limit, "cursor": cursor}
        path = _path("/v1/admin/segments", key, "members")
        return cast(types.SegmentMembers, self.call("GET", path, query=query))

    def history(self, kind: DefinitionKind, key: str) -> list[types.Version]:
        """Every version of a definition, the newest first; of a deleted one too."""
        found = self.call("GET", _path(f"/v1/admin/{kind}s", key, "history"))["versions"]
        return cast(list[types.Version], found)

    def rollback(
        self, kind: DefinitionKind, key: str, version: int, *, current: int | None = None, note: str | None = None
    ) -> Definition:
        """Saves an older version again, as a new one.

        `current`: the version that was read as the newest; `note` says why. Raises `PreconditionFailed` as
        `change_flag` does.
        """
        path = _path(f"/v1/admin/{kind}s", key, "rollback")
        body = {"version": version, "note": note}
        return cast(Definition, self.call("POST", path, body, headers=_if_match(current))[kind])

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def search_users(self, text: str = "", *, limit: int | None = None, offset: int | None = None) -> types.UserPage:
        """Users whose id contains a text, the newest first."""
        query = {"query": text, "limit": limit, "offset": offset}
        return cast(types.UserPage, self.call("GET", "/v1/admin/users/search", query=query))

    def user(self, user_id: str | int) -> types.UserDetail:
        """One user: ids, attributes, live traits and segments, recent events. Raises `NotFound`."""
        return cast(types.UserDetail, self.call("GET", _path("/v1/admin/users", user_id))["user"])

    def identity(self, user_id: str | int) -> types.Identity:
        """The ids of a person, and since when and by which event each belongs to them."""
        return cast(types.Identity, self.call("GET", _path("/v1/admin/users", user_id, "identity")))

    def decisions(self, user_id: str | int) -> types.Decisions:
        """All flags for a user, each with its reasons. No flag looks used by it."""
        return cast(types.Decisions, self.call("GET", _path("/v1/admin/users", user_id, "decisions")))

    def unlink(self, record_id: str) -> types.Unlinked:
        """Takes an id, `anon:…` or an aliased user, from the person whom it belongs to."""
        return cast(types.Unlinked, self.call("POST", _path("/v1/admin/users", record_id, "unlink")))

    def person_data(
        self, user_id: str | int, *, limit: int | None = None, offset: int | None = None
    ) -> types.PersonData:
        """All that is known of a person, with a page of their events, oldest first."""
        query = {"limit": limit, "offset": offset}
        return cast(types.PersonData, self.call("GET", _path("/v1/admin/users", user_id, "data"), query=query))

    def person_events(
        self,
        user_id: str | int,
        *,
        since: str | None = None,
        until: str | None = None,
        name: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> types.PersonEvents:
        """A page of a person's events, the newest first: of a period, of a name; the next one by the `cursor`."""
        query = {"from": since, "to": until, "name": name, "limit": limit, "cursor": cursor}
        return cast(types.PersonEvents, self.call("GET", _path("/v1/admin/users", user_id, "events"), query=query))

    def person_part(self, user_id: str | int, *, limit: int = EVENTS_MAX, offset: int = 0) -> types.PersonData:
        """As `person_data`, with fewer events than `limit` where so many are more than an answer may hold."""
        while True:
            try:
                return self.person_data(user_id, limit=limit, offset=offset)
            except AnswerTooLarge:
                if limit <= EVENTS_THAT_FIT:
                    raise
                limit = max(limit // 5, EVENTS_THAT_FIT)

    def events_of(self, user_id: str | int, *, page: int = EVENTS_MAX) -> Iterator[types.DataEvent]:
        """Every event of a person, oldest first, a page at a time; pages are smaller where events are large."""
        offset = 0
        while True:
            data = self.person_part(user_id, limit=page, offset=offset)
            yield from data["events"]
            offset += len(data["events"])
            if not data["hasMore"] or not data["events"]:
                return
            page = len(data["events"])

    def delete_user(self, user_id: str | int) -> types.DeletedPerson:
        """Deletes the person whom an id belongs to, with all their ids, for good."""
        return cast(types.DeletedPerson, self.call("DELETE", _path("/v1/admin/users", user_id)))

    def traits(self, user_id: str | int) -> dict[str, Any]:
        """A user's live traits and segments: `traits`, `segments`, `warming`, `exact`, `asof`."""
        return cast(dict[str, Any], self.call("GET", _path("/v1/users", user_id, "traits")))

    # ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def start_export(self, segment: str) -> types.Export:
        """Starts to export the members of a segment; `export` says how far it is."""
        return cast(types.Export, self.call("POST", _path("/v1/export/segment", segment)))

    def export(self, export_id: str) -> types.Export:
        """How far an export is."""
        return cast(types.Export, self.call("GET", _path("/v1/export", export_id)))

    def exports(self, *, limit: int | None = None, offset: int | None = None) -> types.ExportList:
        """The files that are kept, the newest first."""
        return cast(types.ExportList, self.call("GET", "/v1/export/list", query={"limit": limit, "offset": offset}))

    def export_segment(self, segment: str, path: str | Path, *, timeout_s: float = 600.0) -> types.Export:
        """Exports the members of a segment into a CSV file on this machine.

        Raises `ApiError` for a refusal, and `Unreachable` where the export fails or is not done in time. The file is
        written whole or not at all.
        """
        deadline_s = time.monotonic() + timeout_s
        export = self.start_export(segment)
        while export["state"] in ("waiting", "running"):
            if time.monotonic() > deadline_s:
                raise Unreachable(f"the export of '{segment}' is not done after {timeout_s} s; ask for it by its id")
            time.sleep(LOOK_S)
            export = self.export(export["id"])
        if export["state"] != "done" or not export.get("downloadUrl"):
            raise Unreachable(f"the export of '{segment}' failed: {export.get('error')}")
        download(self._http, str(export["downloadUrl"]), Path(path))
        return export

    # ── refused events ───────────────────────────────────────────────────────────────────────────────────────────────

    def rejected(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        reason: str | None = None,
        key: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> types.RejectedPage:
        """Refused events, the newest first, with their numbers by reason and by where they came from.

        Of the last seven days where no times (ISO 8601) are given. `reason` is one of the page's `reasons`, `key` the
        label of a key.
        """
        query = {"from": since, "to": until, "reason": reason, "key": key, "limit": limit, "cursor": cursor}
        return cast(types.RejectedPage, self.call("GET", "/v1/admin/rejected", query=query))

    def redrive(
        self,
        ids: Sequence[str] | None = None,
        *,
        reason: str | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> types.Redriven:
        """Sends refused events again: those of some ids, or the oldest 1,000 of a reason. None is taken twice.

        `event` replaces what was sent, of one id.
        """
        body = {"ids": None if ids is None else list(ids), "reason": reason, "event": event}
        return cast(types.Redriven, self.call("POST", "/v1/admin/rejected/redrive", body))

    # ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────────

    def create_key(self, kind: KeyKind, label: str = "") -> types.CreatedKey:
        """A new key. Its text is shown this once."""
        return cast(types.CreatedKey, self.call("POST", "/v1/admin/keys", {"kind": kind, "label": label}))

    def list_keys(self) -> list[types.Key]:
        """All keys, revoked ones too, without their texts."""
        return cast(list[types.Key], self.call("GET", "/v1/admin/keys")["keys"])

    def revoke_key(self, key_id: str) -> None:
        """Revokes a key for good."""
        self.call("DELETE", _path("/v1/admin/keys", key_id))

    def audit(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        kind: str | None = None,
        key: str | None = None,
        author: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> types.AuditPage:
        """What admins did, the newest first: of a kind, with a part of a key and of an author's label, in a period."""
        query = {"limit": limit, "offset": offset, "kind": kind, "key": key, "author": author}
        return cast(types.AuditPage, self.call("GET", "/v1/admin/audit", query={**query, "from": since, "to": until}))

    def runs(self, *, work: str | None = None, limit: int | None = None, offset: int | None = None) -> types.RunPage:
        """Rebuilds, purges and maintenance of the worker, the newest first."""
        query = {"work": work, "limit": limit, "offset": offset}
        return cast(types.RunPage, self.call("GET", "/v1/admin/runs", query=query))

    def rebuild(self, *, ids: Sequence[str] | None = None, at: str | None = None) -> str:
        """Asks for a rebuild of everybody, of some ids, or as of a time (ISO 8601); the id of its run."""
        body = {"ids": None if ids is None else list(ids), "at": at}
        return cast(str, self.call("POST", "/v1/admin/rebuild", body)["id"])

    def metrics(self) -> types.SystemMetrics:
        """How much there is: people, events, definitions, tables."""
        return cast(types.SystemMetrics, self.call("GET", "/v1/admin/metrics")["metrics"])

    # ── events of everybody ──────────────────────────────────────────────────────────────────────────────────────────

    def newest_events(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        name: str | None = None,
        state: Literal["accepted", "refused"] | None = None,
    ) -> types.NewestEvents:
        """The newest events, accepted and refused, the newest first; since an answer, where its cursor is `after`."""
        query = {"after": after, "limit": limit, "name": name, "state": state}
        return cast(types.NewestEvents, self.call("GET", "/v1/admin/events", query=query))

    # ── activity ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def activity(
        self, *, since: str | None = None, until: str | None = None, step: int | None = None
    ) -> types.Activity:
        """Events, decisions and latencies over the last 48 hours, by minutes; of the last hour, if not said otherwise.

        `since` and `until` are instants in ISO 8601, `step` is how many minutes a point has.
        """
        query = {"from": since, "to": until, "step": step}
        return cast(types.Activity, self.call("GET", "/v1/admin/activity", query=query))

    def flag_activity(self, *, since: str | None = None, until: str | None = None) -> types.FlagsActivity:
        """What flags answered apps, by day and variant, when an app named each last, and which are stale."""
        query = {"from": since, "to": until}
        return cast(types.FlagsActivity, self.call("GET", "/v1/admin/activity/flags", query=query))

    def workspace(self) -> types.Workspace:
        """The time zone whose calendar dates count, the release, the time, and the key that asks."""
        return cast(types.Workspace, self.call("GET", "/v1/admin/workspace"))

    def segment_activity(
        self, *, since: str | None = None, until: str | None = None, points: int | None = None
    ) -> types.PeopleOverTime:
        """How many people there were, in each segment and with each trait, as full rebuilds counted them."""
        query = {"from": since, "to": until, "points": points}
        return cast(types.PeopleOverTime, self.call("GET", "/v1/admin/activity/segments", query=query))

    def health(self) -> types.Health:
        """How the stack is; also while it is not well, and answers 503. Raises `Unreachable` without an answer."""
        try:
            reply = exchange(self._http, Ask("GET", "/health", headers_of(None)), self._timeout_s)
        except FAILED as error:
            raise Unreachable(f"GET /health: {reason_of(error)}") from error
        body = reply.json()
        if reply.status not in (200, 503) or not isinstance(body, dict) or "checks" not in body:
            raise api_error(reply.status, body, reply.retry_after)
        return cast(types.Health, body)


def _path(*parts: str | int) -> str:
    """A path whose parts but the first are encoded whole: an id may have slashes."""
    first, *others = parts
    return "/".join([str(first), *(quote(str(part), safe="") for part in others)])


def _if_match(version: int | None) -> dict[str, str]:
    """The header that asks for a version; none where the caller names none."""
    return {} if version is None else {"If-Match": f'"{version}"'}


__all__: Sequence[str] = ["Admin", "AnalysisKind", "Definition", "DefinitionKind", "KeyKind", "ValidatePart"]
