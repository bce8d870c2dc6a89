"""Flags beside their rules: a switch, a schedule, prerequisites, named users, a rollout, variants.

A flag is saved as settings, plain JSON beside its rule. `settings_after` checks a change of the settings and deals out
the buckets of the variants. `flag_of` makes of them the `Flag` that decisions use, once for each catalogue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from expressions.rules.bucketing import BUCKETS, Split, counts_of, moved
from expressions.rules.values import instant_ms
from serving.ids import checked_record, record_of, require_text
from serving.refusals import Invalid, invalid

#: The buckets in one percent: a share can be given in percent to three decimals.
BUCKETS_A_PERCENT = BUCKETS // 100
DECIMALS_MAX = 3
VARIANTS_MAX = 100
VALUE_BYTES_MAX = 8_192
PREREQUISITES_MAX = 20
#: Flags that may need each other in a row: a decision follows them all.
CHAIN_MAX = 32
USERS_MAX = 1_000
NAME_CHARACTERS_MAX = 100
CACHE_S_MAX = 60
WEIGHT_MAX = 1_000_000
#: Parts that the shares of a flag's variants may be in: each change of weights may cut them once more.
INTERVALS_MAX = 1_000

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Prerequisite:
    """Another flag that must allow; where `variant` is given, with that variant."""

    flag: str
    variant: str | None = None


@dataclass(frozen=True)
class Flag:
    """A flag, ready for decisions. Times are UTC ms, `rollout` counts buckets, `users` are by namespaced id.

    `default` is the answer where nothing allows: a variant, or true, which allows a flag that is off or warming.
    """

    key: str
    version: int = 0
    enabled: bool = True
    default: bool | str = False
    values: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    rollout: int = BUCKETS
    salt: str = ""
    bucket_by: str = "userId"
    starts_ms: int | None = None
    ends_ms: int | None = None
    prerequisites: tuple[Prerequisite, ...] = ()
    users: Mapping[str, bool | str] = field(default_factory=dict)
    cache_s: int = 0

    @cached_property
    def split(self) -> Split:
        """The variant of each bucket."""
        return Split(self.intervals)

    @cached_property
    def only_variant(self) -> str | None:
        """The variant that has all buckets, if one has."""
        weighted = [name for name, intervals in self.intervals.items() if intervals]
        return weighted[0] if len(weighted) == 1 else None

    @cached_property
    def bucketing_trait(self) -> str | None:
        """The trait whose value is bucketed; None where an id is."""
        kind, _, key = self.bucket_by.partition(":")
        return key if kind == "trait" else None

    @cached_property
    def is_timed(self) -> bool:
        """Whether it has a schedule."""
        return self.starts_ms is not None or self.ends_ms is not None

    def is_scheduled(self, now_ms: int) -> bool:
        """Whether an instant is in [start, end)."""
        return (self.starts_ms is None or self.starts_ms <= now_ms) and (self.ends_ms is None or now_ms < self.ends_ms)

    def next_boundary_ms(self, now_ms: int) -> int | None:
        """The next instant at which the schedule begins or ends."""
        return min((at for at in (self.starts_ms, self.ends_ms) if at is not None and at > now_ms), default=None)


def flag_of(key: str, settings: Mapping[str, Any], version: int = 0) -> Flag:
    """The flag that these settings, which passed `settings_after`, describe."""
    return Flag(
        key=key,
        version=version,
        enabled=settings.get("enabled", True),
        default=settings.get("default", False),
        values={variant["name"]: variant["value"] for variant in settings.get("variants", [])},
        intervals={
            name: [(start, end) for start, end in intervals]
            for name, intervals in settings.get("intervals", {}).items()
        },
        rollout=round(settings.get("rollout", 100) * BUCKETS_A_PERCENT),
        salt=settings.get("salt", key),
        bucket_by=settings.get("bucket_by", "userId"),
        starts_ms=instant_ms(settings["starts_at"]) if "starts_at" in settings else None,
        ends_ms=instant_ms(settings["ends_at"]) if "ends_at" in settings else None,
        prerequisites=tuple(
            Prerequisite(prerequisite["flag"], prerequisite.get("variant"))
            for prerequisite in settings.get("prerequisites", [])
        ),
        users={record_of(user): answer for user, answer in settings.get("users", {}).items()},
        cache_s=settings.get("cache_seconds", 0),
    )


# ── saving ───────────────────────────────────────────────────────────────────────────────────────────────────────


#: What a setting is where it is left out, but for the salt, which is then the flag's key.
DEFAULTS: dict[str, Any] = {
    "enabled": True,
    "default": False,
    "variants": [],
    "rollout": 100,
    "bucket_by": "userId",
    "prerequisites": [],
    "users": {},
    "cache_seconds": 0,
}


def settings_after(key: str, before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a flag after a change: a value in it counts, null takes a setting out, and others stay.

    A setting that says what its absence says is left out, so a flag that is sent back as it was read is the same.
    Raises `Invalid`, which names the field.
    """
    settings = {**before, **change}
    settings = {name: value for name, value in settings.items() if value is not None}
    variants = settings.get("variants", [])
    nulls = {variant["name"] for variant in before.get("variants", []) if variant["value"] is None}
    settings["variants"] = [_variant(variant, f"variants[{at}]", nulls) for at, variant in enumerate(variants)]
    names = [variant["name"] for variant in settings["variants"]]
    _check_variants(settings["variants"], names)
    _check_default(settings.get("default", False), names)
    _check_schedule(settings)
    _check_bucket_by(settings.get("bucket_by", "userId"))
    _check_answers(settings.get("users", {}), names)
    # A flag that was saved when these were taken must still change: its switch is a change.
    if settings.get("users") != before.get("users"):
        _check_users(settings.get("users", {}))
    if settings.get("rollout") != before.get("rollout"):
        _check_rollout(settings.get("rollout", 100))
    if "salt" in settings:
        require_text("salt", settings["salt"])
    settings.pop("intervals", None)
    if names:
        settings["intervals"] = _intervals(key, before, settings)
    return without_defaults(key, settings)


def without_defaults(key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a flag, less those that say what their absence says."""
    defaults = {**DEFAULTS, "salt": key}
    kept = {name: value for name, value in settings.items() if name not in defaults or not _same(value, defaults[name])}
    if "prerequisites" in kept:
        kept["prerequisites"] = [
            {name: value for name, value in needed.items() if value is not None} for needed in kept["prerequisites"]
        ]
    return kept


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _variant(given: Mapping[str, Any], where: str, nulls: Collection[str]) -> dict[str, Any]:
    """A variant as it is kept. One of `nulls` may stay null: it was saved before null was refused."""
    name, weight = given["name"], given.get("weight", 1.0)
    if not name.strip() or len(name) > NAME_CHARACTERS_MAX:
        raise invalid(f"{where}.name", name, f"name it, in at most {NAME_CHARACTERS_MAX} characters")
    require_text(f"{where}.name", name)
    if not 0 <= weight <= WEIGHT_MAX:
        raise invalid(f"{where}.weight", weight, f"send a number from 0 to {WEIGHT_MAX}")
    value = given.get("value", name)
    if value is None and name not in nulls:  # OpenFeature's clients take it for no answer, each in a way of its own
        raise invalid(f"{where}.value", value, "send a value: false, 0 or an empty text or object may stand for none")
    size = len(_encode(value))
    if size > VALUE_BYTES_MAX:
        raise invalid(f"{where}.value", f"{size} bytes of JSON", f"send at most {VALUE_BYTES_MAX}")
    return {"name": name, "weight": weight, "value": value}


def _check_variants(variants: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            raise invalid(f"variants[{at}].name", name, "give each variant a name of its own")
    weights = [variant["weight"] for variant in variants]
    if variants and not sum(weights) > 0:
        raise invalid("variants", weights, "give one of them a weight above 0")


def _check_default(default: bool | str, names: Sequence[str]) -> None:
    if isinstance(default, str) and default not in names:
        raise invalid("default", default, f"send true, false or the name of a variant{_known(names)}")
    if default is True and names:
        raise invalid(
            "default", default, f"name a variant: a flag that has some cannot allow without one{_known(names)}"
        )


def _known(names: Sequence[str]) -> str:
    return f": {', '.join(names[:10])}" if names else ""


def _check_schedule(settings: Mapping[str, Any]) -> None:
    at = {name: instant_ms(settings[name]) for name in ("starts_at", "ends_at") if name in settings}
    for name, instant in at.items():
        if instant is None:
            raise invalid(name, settings[name], "send an ISO 8601 time, such as 2026-03-01T12:00:00Z")
    starts_ms, ends_ms = at.get("starts_at"), at.get("ends_at")
    if starts_ms is not None and ends_ms is not None and ends_ms <= starts_ms:
        raise invalid("ends_at", settings["ends_at"], "send a time after starts_at")


def _check_bucket_by(by: str) -> None:
    if by not in ("userId", "deviceId") and not (by.startswith("trait:") and by != "trait:"):
        raise invalid("bucket_by", by, "send userId, deviceId or trait:KEY")


def _check_rollout(rollout: float) -> None:
    if round(rollout, DECIMALS_MAX) != rollout:
        raise invalid("rollout", rollout, "send a percentage of at most three decimals")


def _check_users(users: Mapping[str, bool | str]) -> None:
    named: dict[str, str] = {}
    for user in users:
        other = named.setdefault(checked_record("users", user), user)
        if other != user:
            raise invalid("users", user, f"name each user once: '{other}' is the same one")


def _check_answers(users: Mapping[str, bool | str], names: Sequence[str]) -> None:
    for user, answer in users.items():
        if isinstance(answer, str) and answer not in names:
            raise invalid(f"users.{user}", answer, f"send true, false or the name of a variant{_known(names)}")


def _intervals(key: str, before: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, list[list[int]]]:
    """The buckets of each variant after a change, as intervals [start, end); as few as possible change hands.

    Under another salt everybody is in another bucket, so all are dealt out anew.
    """
    shares = before.get("intervals", {}) if before.get("salt", key) == settings.get("salt", key) else {}
    counts = counts_of({variant["name"]: variant["weight"] for variant in settings["variants"]})
    intervals = moved({name: [(start, end) for start, end in share] for name, share in shares.items()}, counts)
    if sum(map(len, intervals.values())) > INTERVALS_MAX:
        raise Invalid(
            f"weights changed so often that shares are in more than {INTERVALS_MAX} parts",
            {"field": "variants", "remedy": "send a new salt: everybody is then dealt out anew"},
        )
    return {name: [[start, end] for start, end in share] for name, share in intervals.items()}


# ── other definitions ────────────────────────────────────────────────────────────────────────────────────────────


def check_names(key: str, flags: Mapping[str, Flag], traits: Collection[str]) -> None:
    """Raises `Invalid` unless a saved flag fits the others.

    The flags and traits that it names exist, the variants that others name of it still do, and no flag needs itself.
    """
    flag = flags[key]
    if flag.bucketing_trait is not None and flag.bucketing_trait not in traits:
        raise invalid("bucket_by", flag.bucket_by, "name a trait that exists")
    for needed in flag.prerequisites:
        if needed.flag not in flags:
            raise invalid("prerequisites", needed.flag, "name a flag that exists")
        if needed.variant is not None and needed.variant not in flags[needed.flag].values:
            raise invalid("prerequisites", needed.variant, f"name a variant of flag '{needed.flag}'")
    for other in flags.values():
        for needed in other.prerequisites:
            if needed.flag == key and needed.variant is not None and needed.variant not in flag.values:
                raise invalid("variants", list(flag.values), f"keep '{needed.variant}': flag '{other.key}' asks for it")
    cycle = _cycle(key, flags)
    if cycle:
        raise invalid("prerequisites", " needs ".join(cycle), "flags that do not need each other")
    chain = _chain_length(key, flags)
    if chain > CHAIN_MAX:
        remedy = f"let at most {CHAIN_MAX} flags need each other in a row"
        raise invalid("prerequisites", f"a chain of {chain} flags", remedy)


def _chain_length(key: str, flags: Mapping[str, Flag]) -> int:
    """The flags of the longest chain of prerequisites that a flag is in, itself included; there is no cycle."""
    needed = {name: [other.flag for other in flag.prerequisites] for name, flag in flags.items()}
    needing: dict[str, list[str]] = {name: [] for name in flags}
    for name, others in needed.items():
        for other in others:
            needing.setdefault(other, []).append(name)
    return 1 + _steps(key, needed) + _steps(key, needing)


def _steps(key: str, following: Mapping[str, Sequence[str]]) -> int:
    """The length of the longest way from a flag."""
    steps, reached = 0, set(following.get(key, ()))
    while reached:
        steps += 1
        reached = {other for name in reached for other in following.get(name, ())}
    return steps


def _cycle(key: str, flags: Mapping[str, Flag]) -> list[str]:
    """The flags on a way through prerequisites from a flag back to itself; empty where there is none."""
    ways, seen = [[key]], {key}
    while ways:
        way = ways.pop()
        for needed in flags[way[-1]].prerequisites:
            if needed.flag == key:
                return [*way, key]
            if needed.flag in flags and needed.flag not in seen:
                seen.add(needed.flag)
                ways.append([*way, needed.flag])
    return []
