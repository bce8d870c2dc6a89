"""The answers of the admin API, as types: dicts as they came, whose fields a type checker knows.

The server may add fields. `tests/sdk/test_admin.py` holds each type to the API's OpenAPI document.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Trait(TypedDict):
    """A trait as stored. Times are RFC 3339."""

    id: str
    key: str
    expression: str
    version: int
    author: str
    description: str
    owner: str
    tags: list[str]
    created_at: str
    updated_at: str
    used_by: list[str]
    size: int | None
    warnings: NotRequired[list[str]]
    history: NotRequired[Literal["pending"] | None]


class Segment(TypedDict):
    """A segment as stored. Times are RFC 3339."""

    id: str
    key: str
    rule: str
    version: int
    author: str
    description: str
    owner: str
    tags: list[str]
    created_at: str
    updated_at: str
    used_by: list[str]
    size: int | None
    warnings: NotRequired[list[str]]
    history: NotRequired[Literal["pending"] | None]


class Variant(TypedDict):
    """A variant."""

    name: str
    weight: float
    value: Any


class Prerequisite(TypedDict):
    """Another flag that must allow, with this variant where one is named."""

    flag: str
    variant: NotRequired[str | None]


class Flag(TypedDict):
    """A flag as stored."""

    id: str
    key: str
    rule: str
    version: int
    author: str
    description: str
    owner: str
    tags: list[str]
    created_at: str
    updated_at: str
    used_by: list[str]
    size: int | None
    warnings: NotRequired[list[str]]
    history: NotRequired[Literal["pending"] | None]
    enabled: bool
    default: bool | str
    variants: NotRequired[list[Variant]]
    rollout: NotRequired[float]
    salt: NotRequired[str]
    bucket_by: NotRequired[str]
    starts_at: NotRequired[str | None]
    ends_at: NotRequired[str | None]
    prerequisites: NotRequired[list[Prerequisite]]
    users: NotRequired[dict[str, bool | str]]
    cache_seconds: NotRequired[int]


class Version(TypedDict):
    """One version of a definition: its expression, who saved it and when. `deleted`: this version deleted it."""

    version: int
    expression: str
    author: str
    updated_at: str
    deleted: bool
    settings: dict[str, Any]
    note: str


class VersionList(TypedDict):
    """Every version of a definition, the newest first."""

    versions: list[Version]


class Cost(TypedDict):
    """The price of saving an expression.

    `bytesPerUser` is Redis' memory, measured on some users; it is left out while there are none. `live` is true where
    all that the expression reads is kept already; else it waits for a rebuild.
    """

    bytesPerUser: NotRequired[float | None]
    live: bool


class Mistake(TypedDict):
    """A mistake, and its place: characters [start, end) of the text. `way` leads to the part of a tree without text."""

    message: str
    code: str
    start: int
    end: int
    line: int
    column: int
    expected: str
    nearest: list[str]
    way: NotRequired[str | None]


class Completion(TypedDict):
    """A text that may stand at [start, end), in place of what is there; `label` is what a list shows."""

    label: str
    text: str
    start: int
    end: int
    kind: Literal[
        "event", "property", "attribute", "trait", "segment", "function", "aggregate", "window", "operator", "keyword"
    ]
    type: list[str]
    signature: str
    detail: str


class Wanted(TypedDict):
    """What may stand at a position; the function that it is in; the attribute or property that a value is beside."""

    wants: Literal["value", "operator", "name", "member", "nothing"]
    names: list[str]
    event: NotRequired[str | None]
    signature: str
    detail: str
    compared: NotRequired[dict[str, str] | None]


class Beyond(TypedDict):
    """The first part that a visual builder of the common shapes cannot show."""

    message: str
    text: str
    start: int
    end: int


class Validated(TypedDict):
    """Whether an expression may be saved; if not, the reason and the place; and the parts that were asked for."""

    valid: bool
    error: NotRequired[str | None]
    details: NotRequired[dict[str, Any] | None]
    errors: NotRequired[list[Mistake]]
    text: NotRequired[str | None]
    tree: NotRequired[dict[str, Any] | None]
    beyond: NotRequired[Beyond | None]
    completions: NotRequired[list[Completion] | None]
    wanted: NotRequired[Wanted | None]
    type: NotRequired[list[str] | None]
    references: NotRequired[list[str]]
    cost: NotRequired[Cost | None]
    warnings: NotRequired[list[str]]


class SeenProperty(TypedDict):
    """A property of an event, the kinds of value that were seen, and in how many of the rows that were read."""

    name: str
    kinds: list[Literal["null", "boolean", "number", "string", "list"]]
    count: int


class SeenEvent(TypedDict):
    """An event: how many rows of the lake have it, and its latest time."""

    name: str
    count: int
    lastSeen: str
    properties: list[SeenProperty]


class SeenAttribute(TypedDict):
    """An attribute, or a name inside its value."""

    key: str
    path: list[str]
    kinds: list[Literal["null", "boolean", "number", "string", "list"]]
    count: int


class KnownId(TypedDict):
    """A kind of id, its prefix in a record's id, and the fields that apps send it in."""

    kind: str
    prefix: str
    fields: list[str]


class KnownTrait(TypedDict):
    """A trait, and the types of value that it may give."""

    key: str
    type: list[Literal["null", "boolean", "number", "string", "list"]]
    description: str


class KnownSegment(TypedDict):
    """A segment."""

    key: str
    description: str


class KnownFunction(TypedDict):
    """A function of the language."""

    name: str
    signature: str
    says: str


class KnownAggregate(TypedDict):
    """An aggregate of the language; with `dates` its windows are in days."""

    name: str
    type: list[Literal["null", "boolean", "number", "string", "list"]]
    property: Literal["required", "optional"]
    dates: bool
    says: str


class Vocabulary(TypedDict):
    """The names that expressions are made of; those in the lake are as of `asof`."""

    asof: str
    rows: int
    events: list[SeenEvent]
    eventsLeftOut: int
    attributes: list[SeenAttribute]
    ids: list[KnownId]
    traits: list[KnownTrait]
    segments: list[KnownSegment]
    functions: list[KnownFunction]
    aggregates: list[KnownAggregate]


class SeenValue(TypedDict):
    """A value, and in how many rows it was seen."""

    value: Any
    count: int


class Values(TypedDict):
    """Examples of values in so many of the newest rows, the most frequent first."""

    rows: int
    values: list[SeenValue]


class AllowedPerson(TypedDict):
    """A person whom a flag allows, and the variant that they get, if it has some."""

    id: str
    variant: str | None


class VariantPeople(TypedDict):
    """How many people get a variant."""

    variant: str
    count: int


class FlagPeople(TypedDict):
    """How many of all people a flag allows as of an instant, by variant, and a page of them by id."""

    key: str
    count: int
    total: int
    variants: list[VariantPeople]
    users: list[AllowedPerson]
    hasMore: bool
    asof: str


class SegmentMember(TypedDict):
    """A member, and when a rebuild first saw the membership; None until one has."""

    id: str
    since: str | None


class SegmentMembers(TypedDict):
    """How many of all people are in a segment as of an instant, and a page of them by id; the next one by `cursor`.

    `fresh`: it was computed now; else it is as of the last full rebuild.
    """

    key: str
    count: int
    total: int
    members: list[SegmentMember]
    cursor: str | None
    asof: str
    fresh: bool


class PreviewUser(TypedDict):
    """A person for whom an expression holds, and its value."""

    id: str
    value: Any


class Bin(TypedDict):
    """The people whose number is in [low, high); in the last bin of a histogram also those at `high`."""

    low: float
    high: float
    count: int


class TopValue(TypedDict):
    """A value that is no number, or an item of lists, and how many people have it. A text is cut to 200 characters."""

    value: Any
    count: int


class Distribution(TypedDict):
    """How the values of a trait are spread over everybody. `none`: people without a value.

    `histogram` has at most 20 bins of the numbers. They are as wide as each other, but for the last, which reaches from
    the 99th percentile up to the greatest number. `top` has the 20 most frequent of the `distinct` other values.
    """

    none: int
    histogram: list[Bin]
    top: list[TopValue]
    distinct: int


class Preview(TypedDict):
    """For how many of all people an expression holds, as of an instant; of a trait the distribution of its values."""

    count: int
    total: int
    sample: list[PreviewUser]
    distribution: NotRequired[Distribution | None]
    asof: str


class TrendPoint(TypedDict):
    """For how many people an expression held at the end of a date in the workspace's time zone; today: now."""

    date: str
    members: int


class Trend(TypedDict):
    """The last 90 dates, oldest first, and how many people there are. People and definitions are those of now."""

    points: list[TrendPoint]
    total: int
    asof: str


class SegmentOverlap(TypedDict):
    """A segment, how many people are in it, and how many of them the expression holds for."""

    key: str
    members: int
    both: int


class Overlap(TypedDict):
    """For how many of all people the expression holds, and how many of them are in each other segment.

    The segments with the most in common come first, at most 100; `left_out` counts the others.
    """

    members: int
    total: int
    segments: list[SegmentOverlap]
    left_out: int
    asof: str


class SomePeople(TypedDict):
    """How many people, and the ids of some of them: none once anybody was deleted since."""

    count: int
    sample: list[str]


class Decided(TypedDict):
    """Whether a flag allows, and its variant."""

    allow: bool
    variant: str | None


class DecisionChange(TypedDict):
    """For how many people a flag's decision becomes another one."""

    before: Decided
    after: Decided
    count: int


class ImpactedDefinition(TypedDict):
    """A definition that an edit reaches: for how many people it holds before and after, and for whom that changes.

    A trait holds where it has a value, a flag where it allows. `changed`: for how many the value or the decision is
    another one. `decisions`: of a flag the 50 most frequent changes.
    """

    kind: Literal["trait", "segment", "flag"]
    key: str
    before: int
    after: int
    changed: int
    enters: SomePeople
    leaves: SomePeople
    decisions: list[DecisionChange]


class Impact(TypedDict):
    """The definition that is edited, and all that an edit reaches by it: the most changed first, at most 100.

    `left_out` counts the others.
    """

    definitions: list[ImpactedDefinition]
    left_out: int
    total: int
    asof: str


class FoundPerson(TypedDict):
    """A person, the variant that a flag gives them, and since when a rebuild saw them in a segment."""

    id: str
    variant: str | None
    since: str | None


class People(TypedDict):
    """For how many of all people an expression holds, or whom a flag allows, by variant.

    `sample` has the first by id, 5,000 at most, of each variant as many: none once anybody was deleted since.
    """

    count: int
    total: int
    variants: list[VariantPeople]
    sample: list[FoundPerson]
    asof: str


class Analysis(TypedDict):
    """An analysis and how far it is, from 0 to 1. `result` is there once it is done."""

    id: str
    analysis: Literal["trend", "overlap", "impact", "people"]
    kind: Literal["trait", "segment", "flag"]
    key: str | None
    expression: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: float
    result: NotRequired[Trend | Overlap | Impact | People | None]
    error: NotRequired[str | None]


class CreatedKey(TypedDict):
    """A new key. `key` is its text, which cannot be read again."""

    id: str
    key: str
    kind: str
    label: str
    created_at: str


class Key(TypedDict):
    """A key without its text. A key of the configuration has no `created_at` and cannot be revoked here."""

    id: str
    kind: str
    label: str
    author: str
    created_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class KeyList(TypedDict):
    """All keys."""

    keys: list[Key]


class AuditEntry(TypedDict):
    """One thing that an admin did. `author` is the label of the key that was used, `note` what they said about it.

    Of a definition, `before` and `after` are its versions, and `changed` names their fields that differ.
    """

    at: str
    author: str
    action: str
    kind: str
    key: str
    note: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changed: list[str]
    details: dict[str, Any]


class AuditPage(TypedDict):
    """A page of the audit log."""

    entries: list[AuditEntry]
    total: int
    hasMore: bool


class RejectedEvent(TypedDict):
    """A refused event, or a refused row of an imported file. `cut`: not all of its text was kept."""

    id: str | None
    received_at: str
    source: str
    path: str | None
    key: str | None
    line: int | None
    code: str
    reason: str
    group: str
    event: str | None
    cut: bool
    redriven_at: str | None


class RejectedReason(TypedDict):
    """A reason, without what was sent, and how many events were refused for it."""

    reason: str
    count: int
    last_at: str


class RejectedSource(TypedDict):
    """Where refused events came from: a path and the label of a key, or an imported file."""

    source: str
    path: str | None
    key: str | None
    count: int


class RejectedPage(TypedDict):
    """Refused events of a period. `reasons`, `sources` and `total` count all of it, `waiting` have yet to be stored."""

    rejected: list[RejectedEvent]
    reasons: list[RejectedReason]
    sources: list[RejectedSource]
    total: int
    waiting: int
    cursor: str | None


class RefusedAgain(TypedDict):
    """A refused event that was not sent again, and why."""

    id: str
    code: str
    message: str


class Redriven(TypedDict):
    """What became of refused events that were sent again. `duplicates` had been taken before."""

    redriven: int
    duplicates: int
    refused: list[RefusedAgain]
    left: int


class Run(TypedDict):
    """A run of the worker. `of` is what it is about, `cause` why it began, `by` the label of the key that asked."""

    id: str
    work: str
    of: str
    state: Literal["waiting", "running", "done", "failed", "lost"]
    cause: Literal["admin", "prefect", "request", "schedule"]
    by: str
    asked_at: str | None
    began_at: str | None
    ended_at: str | None
    seconds: float | None
    counts: dict[str, Any]
    error: str | None


class RunPage(TypedDict):
    """A page of the worker's runs, the newest first."""

    runs: list[Run]
    total: int
    hasMore: bool


class Alias(TypedDict):
    """An id of a person; `kind` is externalId, deviceId or emailHash."""

    kind: str
    value: str


class FoundUser(TypedDict):
    """A user on a page of the search."""

    id: str
    created_at: str
    aliases: list[Alias]
    lastEventTime: str | None
    eventCount: int
    activeSegments: list[str]


class UserPage(TypedDict):
    """A page of users."""

    users: list[FoundUser]
    total: int
    hasMore: bool


class RecentEvent(TypedDict):
    """An event as it came."""

    id: str
    ts: str
    name: str | None
    props: Any


class TraitValue(TypedDict):
    """A trait's value, live. `nextChange`: when it changes with no new event; an instant, `never` or `unknown`."""

    key: str
    value: Any
    updated_at: str
    warming: bool
    nextChange: str


class SegmentValue(TypedDict):
    """Whether a user is in a segment, live. `since` is known once a rebuild has seen the membership.

    `nextChange`: when the user enters or leaves with no new event; an instant, `never` or `unknown`.
    """

    key: str
    inSegment: bool
    since: str | None
    updated_at: str
    warming: bool
    nextChange: str


class EventCounts(TypedDict):
    """Numbers of events, in all and by rolling windows."""

    total: int
    last_24h: int
    last_7d: int
    last_30d: int


class UserDetail(TypedDict):
    """Everything about one user. `ids` has the aliases again, each with its owner: since when, by which event."""

    id: str
    created_at: str
    aliases: list[Alias]
    ids: list[LinkedId]
    attributes: dict[str, Any]
    recentEvents: list[RecentEvent]
    traits: list[TraitValue]
    segments: list[SegmentValue]
    eventCounts: EventCounts


class User(TypedDict):
    """One user."""

    user: UserDetail


class DeletedPerson(TypedDict):
    """The ids of a deleted person. `settled`: the lake knows of the delete too."""

    success: bool
    deleted: list[Alias]
    settled: bool


class LinkedId(TypedDict):
    """An id of a person. `id` has its kind before it; `owner` is the id it belongs to: since when, by which `event`."""

    id: str
    kind: str
    value: str
    owner: str | None
    since: str | None
    event: str | None


class Identity(TypedDict):
    """The ids of a person. `id` is the person's own, which belongs to no other."""

    id: str
    ids: list[LinkedId]


class DataEvent(TypedDict):
    """An event or an identify as it came. `id` is the id that it came under."""

    id: str
    kind: str
    eventId: str
    ts: str
    received_at: str
    name: str | None
    properties: Any
    traits: Any
    context: Any


class PersonData(TypedDict):
    """Everything that is known of a person. `total` and `hasMore` are about the events."""

    id: str
    ids: list[LinkedId]
    attributes: dict[str, Any]
    traits: dict[str, Any]
    segments: dict[str, bool]
    events: list[DataEvent]
    total: int
    hasMore: bool
    asof: str


class Unlinked(TypedDict):
    """An id was unlinked: it is a person of its own now. `owner` is the id it belonged to."""

    success: bool
    id: str
    owner: str


class UserTotals(TypedDict):
    """Numbers of people. Active ones have a tracked event in the last 24 hours, 7 and 30 days."""

    total: int
    activeLastDay: int
    activeLastWeek: int
    activeLastMonth: int


class EventType(TypedDict):
    """An event's name, and how often it came in the last 30 days."""

    name: str | None
    count: int


class EventTotals(TypedDict):
    """Numbers of events that count: track, page and screen, without repeats."""

    total: int
    lastDay: int
    lastWeek: int
    lastMonth: int
    topEventTypes: list[EventType]


class UsersOfKey(TypedDict):
    """How many users have a value of a trait, or are in a segment."""

    key: str
    userCount: int


class TraitTotals(TypedDict):
    """Numbers of traits, and of their values at the last full rebuild."""

    definitionCount: int
    computedCount: int
    topTraits: list[UsersOfKey]


class SegmentTotals(TypedDict):
    """Numbers of segments, and of their memberships at the last full rebuild."""

    definitionCount: int
    computedCount: int
    topSegments: list[UsersOfKey]


class FlagTotals(TypedDict):
    """The number of flags."""

    definitionCount: int


class TableSize(TypedDict):
    """A table and how many rows it has."""

    name: str
    rowCount: int


class DatabaseTotals(TypedDict):
    """The lake's tables. `size` is the bytes of all of them."""

    size: int
    tables: list[TableSize]


class SystemMetrics(TypedDict):
    """How much there is. People and events are as of `asof`, values and memberships as of `computedAsof`.

    That is the last full rebuild; null before the first.
    """

    asof: str | None
    computedAsof: str | None
    users: UserTotals
    events: EventTotals
    traits: TraitTotals
    segments: SegmentTotals
    flags: FlagTotals
    database: DatabaseTotals


class Metrics(TypedDict):
    """How much there is, and when it was asked."""

    timestamp: str
    metrics: SystemMetrics


class StoredExport(TypedDict):
    """A file that is kept. `size` is in bytes; `downloadUrl` gives it to anybody for an hour."""

    name: str
    size: int
    etag: str | None
    created_at: str
    downloadUrl: NotRequired[str | None]


class ExportList(TypedDict):
    """A page of the files that are kept, the newest first."""

    exports: list[StoredExport]
    total: int
    hasMore: bool


class Export(TypedDict):
    """An export and how far it is."""

    id: str
    segment: str
    filename: str
    state: Literal["waiting", "running", "done", "failed"]
    done: int
    of: int | None
    userCount: int
    asof: str | None
    error: NotRequired[str | None]
    downloadUrl: NotRequired[str | None]


class KeyInUse(TypedDict):
    """The key that a request came with, without its text."""

    id: str
    kind: str
    label: str


class Workspace(TypedDict):
    """The system as somebody who shows its answers must know it. `time_zone`: whose calendar dates count."""

    time_zone: str
    release: str
    now: str
    key: KeyInUse


class HealthCheck(TypedDict):
    """The result of one check. `latency` is in milliseconds, where something was asked. Some checks add fields."""

    status: Literal["ok", "error"]
    latency: NotRequired[float | None]
    error: NotRequired[str | None]


class Health(TypedDict):
    """Whether a part does its work, and the result of each check."""

    status: Literal["ok", "error"]
    service: str
    timestamp: str
    database: NotRequired[Literal["connected", "disconnected"] | None]
    storage: NotRequired[Literal["connected", "disconnected"] | None]
    durability: NotRequired[str | None]
    checks: dict[str, HealthCheck]


class Latency(TypedDict):
    """How long requests took, in ms; null where there was none. Percentiles are exact to their histogram's bucket."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class Done(TypedDict):
    """What all API processes did from `at` on: events taken, flags decided, and latencies by what requests are for."""

    at: str
    events: int
    decisions: int
    decide: Latency
    ingest: Latency


class Activity(TypedDict):
    """What API processes did over time. `since`: from when on there is a record; `step`: minutes of each point."""

    since: str | None
    step: int
    points: list[Done]
    total: Done


class VariantActivity(TypedDict):
    """How often a variant was the answer, and its share of all answers of the flag; `on` and `off` are names too."""

    variant: str
    byName: int
    inBulk: int
    share: float


class FlagDay(TypedDict):
    """The answers of one day (UTC), and how often each variant was the answer."""

    day: str
    byName: int
    inBulk: int
    variants: dict[str, int]


class FlagActivity(TypedDict):
    """What a flag answered apps. `lastAsked`: when an app last named it. `stale`: none has for a long time."""

    key: str
    byName: int
    inBulk: int
    variants: list[VariantActivity]
    days: list[FlagDay]
    lastAsked: str | None
    stale: bool


class FlagsActivity(TypedDict):
    """What each flag answered apps. `since`: from when on there is a record; null where there is none."""

    since: str | None
    staleAfterDays: int
    flags: list[FlagActivity]


class NewestEvent(TypedDict):
    """An event that was accepted, or one that was refused, of which only what could be read is there.

    `id` is the record that an accepted event went to; `text` is the beginning of a refused event's JSON; `key` is the
    label of the key that it came with.
    """

    state: Literal["accepted", "refused"]
    received_at: str
    key: str | None
    id: str | None
    eventId: str | None
    kind: str | None
    name: str | None
    userId: str | None
    anonymousId: str | None
    ts: str | None
    properties: Any
    traits: Any
    context: Any
    code: str | None
    reason: str | None
    text: str | None


class NewestEvents(TypedDict):
    """The newest events, the newest first. `skipped` events since the cursor went by too fast to be shown."""

    events: list[NewestEvent]
    cursor: str
    skipped: int


class PersonEvents(TypedDict):
    """A page of a person's events, the newest first. Send `cursor` for the next page; None: there is none.

    `complete` is false while the drain is so far behind that some of the person's last events may be lacking.
    """

    events: list[DataEvent]
    cursor: str | None
    complete: bool


class Decision(TypedDict):
    """What a flag says for a user, and why."""

    allow: bool
    variant: str | None
    value: Any
    reasons: list[str]
    reason: Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "CACHED", "DISABLED", "UNKNOWN", "STALE", "ERROR"]
    userId: str
    flag: str
    valid_until: NotRequired[str | None]
    explanation: NotRequired[dict[str, Any] | None]


class Decisions(TypedDict):
    """Several decisions for one user, as of one moment. `asof` says what they rest on."""

    userId: str
    decisions: list[Decision]
    asof: dict[str, Any]


class PeopleCounted(TypedDict):
    """What a full rebuild counted as of `at`: all people, those in each segment, and those who have each trait."""

    at: str
    users: int
    segments: dict[str, int]
    traits: dict[str, int]


class PeopleOverTime(TypedDict):
    """What full rebuilds counted over time, the oldest first."""

    points: list[PeopleCounted]
