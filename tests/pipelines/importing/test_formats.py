"""Records of other tools mean what the events mean that an app would have sent: each sample has its answers beside."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.chunk import ImportRefused
from pipelines.importing.formats.mapped import mapped
from pipelines.importing.formats.mapping import formats, mapping_of, read_mapping
from pipelines.importing.import_file import import_file
from pipelines.importing.report import Imported
from pipelines.importing.terms import Reading
from serving.ingest.accept import Limits, accept
from serving.people.links import complete_links
from serving.refusals import Invalid
from serving.store.logged_event import LogEntry
from tests.chance import part_of_examples
from tests.pipelines.importing.test_as_sent import bodies, times
from tests.pipelines.world import empty_world

NOW = 1_800_000_000_000
SAMPLES = Path(__file__).parents[3] / "examples" / "formats"
ANSWERS = Path(__file__).parent / "formats"
#: Each sample, and the format that it is read by: of a folder all its tables by the one of its name.
FILES = {
    str(path.relative_to(SAMPLES)): path.parent.name if path.parent != SAMPLES else path.stem
    for path in sorted(SAMPLES.rglob("*.*"))
    if path.suffix != ".md"
}


def imported(lake: Lake, path: Path, read: Reading, **more: Any) -> tuple[Imported, list[dict[str, Any]], list[Any]]:
    """What became of a file, all rows of the lake, and which ids belong together by what the file says."""
    claims = list[LogEntry]()
    done = import_file(lake, path, reading=read, now_ms=NOW, link=claims.extend, **more)
    rows = pl.DataFrame(pl.from_arrow(lake.open(EVENTS).to_pyarrow_table())).sort("ts", "event_id").to_dicts()
    for row in rows:
        for name in ("properties", "traits", "context"):
            row[name] = json.loads(row[name] or "{}")
    said = [(claim.event.kind, claim.event.user_id, claim.event.anonymous_id) for claim in claims]
    return done, rows, sorted(said, key=str)


def without_made_ids(rows: list[dict[str, Any]], answers: Path) -> list[dict[str, Any]]:
    """Rows of events without the ids that are made of the lines of a file: of the answers these are other ones."""
    stated = {str(json.loads(line).get("messageId")) for line in answers.read_text().splitlines()}
    without = [row | {"event_id": row["event_id"] if row["event_id"] in stated else None} for row in rows]
    return sorted(without, key=lambda row: json.dumps(row, default=str, sort_keys=True))


@pytest.mark.parametrize("file", FILES)
def test_a_sample_is_the_events_that_an_app_would_have_sent(tmp_path: Path, file: str) -> None:
    """The rows and the ids that belong together are those of the answers, and the same file again adds nothing."""
    answers = (ANSWERS / file).with_suffix(".jsonl")
    _, expected, expected_claims = imported(Lake(str(tmp_path / "sent")), answers, Reading(as_sent=True))

    lake = Lake(str(tmp_path / "lake"))
    read = read_mapping(FILES[file]).reading(Reading())
    done, found, claims = imported(lake, SAMPLES / file, read)

    assert (done.accepted, done.rejected, done.already) == (len(expected), 0, 0), done.refused
    assert without_made_ids(found, answers) == without_made_ids(expected, answers)
    assert claims == expected_claims
    again, rows, _ = imported(lake, SAMPLES / file, read)
    assert (again.accepted, again.already, rows) == (0, len(expected), found)


@part_of_examples(2)
@given(body=bodies, time=times)
def test_a_segment_event_is_the_body_itself(body: dict[str, Any], time: Any) -> None:
    """Its fields are those that the API takes, so any body means the same with and without the format."""
    sent = {**body, "messageId": body.get("messageId", "m"), "timestamp": time}
    if not isinstance(sent.get("properties", {}), dict):
        del sent["properties"]

    def means(one: dict[str, Any]) -> Any:
        try:
            return msgspec.to_builtins(accept(one, Limits()))
        except Invalid as refusal:
            return str(refusal)

    (made,) = mapped(sent, read_mapping("segment"), lambda: "x")
    assert means(made) == means(sent)


def test_a_null_of_an_object_says_something_and_a_null_of_a_column_nothing() -> None:
    """An attribute that is null goes, also where JSON stands in a column; a struct has all members in each row."""
    mapping = mapping_of('[event]\ntime = "at"\ntype = "identify"\ntraits = ["t", "plan"]', "mine.toml")
    said = {"city": None, "zip": "", "age": 7}
    row: dict[str, Any] = {"at": "2024-11-02", "t": said, "plan": None}
    as_text = row | {"t": json.dumps(said)}
    read = [
        mapped(row, mapping, str)[0]["traits"],
        mapped(as_text, mapping, str, has_columns=True)[0]["traits"],
        mapped(as_text | {"plan": ""}, mapping, str, are_cells=True, has_columns=True)[0]["traits"],
        mapped(row | {"t": said | {"sum": float("nan")}}, mapping, str, has_columns=True)[0]["traits"],
    ]
    assert read == [said] * 3 + [{"zip": "", "age": 7}]


def test_a_visit_without_a_list_of_actions_is_refused(tmp_path: Path) -> None:
    """It was exported without them; a visit that has none brings none."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"visitorId": "a", "timestamp": 1730534400}\n{"visitorId": "a", "actionDetails": []}\n')
    done, _, _ = imported(Lake(str(tmp_path / "lake")), path, read_mapping("matomo").reading(Reading()))
    assert (done.accepted, done.rejected) == (0, 1)
    assert done.refused[0].samples[0].reason.startswith("actionDetails: there is no list of events")


def test_every_format_has_a_sample() -> None:
    """A format without a sample is not known to be right."""
    assert {*FILES.values()} == {*formats()}


WRONG = {
    "no TOML": ("[event", "no TOML"),
    "a key that nobody knows": ('[event]\ntime = "at"\nusr = "who"', "[event] has no usr"),
    "a table that nobody knows": ('[event]\ntime = "at"\n[rules]', "has no rules"),
    "no time": ('[event]\nuser = "who"', "does not say when"),
    "an unknown kind": ('[event]\ntime = "at"\ntype = "bought"', "type is 'bought'"),
    "an unknown unit": ('[event]\ntime = "at"\ntime_unit = "h"', "time_unit is 'h'"),
    "a number for a place": ('[event]\ntime = "at"\nuser = 7', "user is 7"),
    "a rule for all": ('[event]\ntime = "at"\n[[rule]]\ntype = "page"', "[[rule]] 1 fits every record"),
    "a rule without a place": ('[event]\ntime = "at"\n[[rule]]\nis = "x"', "[[rule]] 1 has no where"),
    "one bracket": ('[event]\ntime = "at"\n[rule]\nwhere = "x"', "write [[rule]]"),
    "an unknown zone": ('[event]\ntime = "at"\ntime_zone = "Mars"', "time_zone is 'Mars'"),
    "an unknown kind of file": ('[event]\ntime = "at"\n[file]\nkind = "xlsx"', "kind is 'xlsx'"),
    "like nothing": ('like = "nothing"', "nothing is not known"),
    "quotes that are a text": ('[event]\ntime = "at"\n[file]\nquotes = "no"', "quotes is 'no'"),
    "a table to compare with": ('[event]\ntime = "at"\n[[rule]]\nwhere = "x"\nis = {}', "is is {}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mapping_that_is_wrong_is_refused_by_name(case: str) -> None:
    """The message names the file or the format, the place in it, and what it takes."""
    text, message = WRONG[case]
    with pytest.raises(ImportRefused) as refused:
        mapping_of(text, "mine.toml")
    assert message in str(refused.value)


@pytest.mark.parametrize("others", [("mine",), ("one", "two", "mine")])
def test_a_format_that_is_like_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: Any) -> None:
    """By itself, or by way of others; the message says by which."""
    monkeypatch.chdir(tmp_path)
    for name, like in zip(("mine", *others), others, strict=False):
        Path(f"{name}.toml").write_text(f'like = "{like}.toml"\n')

    with pytest.raises(ImportRefused, match=r"like itself.*mine\.toml"):
        read_mapping("mine.toml")


def test_a_file_of_another_format_is_refused_as_a_whole(tmp_path: Path) -> None:
    """It has no column that says when; the message says what it has instead."""
    with pytest.raises(
        ImportRefused, match=r"amplitude\.jsonl has no column timestamp.* --format segment .*event_type"
    ):
        imported(Lake(str(tmp_path)), SAMPLES / "amplitude.jsonl", read_mapping("segment").reading(Reading()))


def test_a_copy_that_a_user_changed(tmp_path: Path) -> None:
    """`like` takes a format with other words for a part; what is read anew is known by its ids."""
    lake = Lake(str(tmp_path / "lake"))
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'like = "amplitude"\nalso = []\n'
        '[event]\nproperties = ["event_properties", "event_id"]\nleave_out = ["$revenue"]\n'
    )
    path = SAMPLES / "amplitude.jsonl"

    done, found, _ = imported(lake, path, read_mapping(str(mine)).reading(Reading()))

    assert done.accepted == 4, "the user's properties beside an event are taken out"
    assert [row["properties"] for row in found if row["kind"] == "track"] == [{"sku": "S-7", "event_id": 3}]
    usual = read_mapping("amplitude").reading(Reading())
    assert [imported(lake, path, usual)[0].accepted for _ in range(2)] == [1, 0]


def test_a_record_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path) -> None:
    """No time, no name, nobody: each is refused as it stands, with all events that it would have become."""
    records: list[dict[str, Any]] = [
        {
            "user_id": "ann",
            "event_type": "order",
            "event_time": "2024-11-02 08:00:00",
            "user_properties": {"plan": "pro"},
        },
        {"user_id": "ann", "event_type": "order", "user_properties": {"plan": "pro"}},
        {"user_id": "ann", "event_type": None, "event_time": "2024-11-02 08:00:00", "user_properties": {"plan": "pro"}},
        {"user_id": None, "event_type": "order", "event_time": "2024-11-02 08:00:00"},
        {"user_id": "ann", "event_type": "order", "event_time": "yesterday"},
        {
            "user_id": "ann",
            "event_type": "o",
            "event_time": "2024-11-02 08:00:00",
            "user_properties": {"a": "x" * 9_000},
        },
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    refused: list[Any] = []
    usual = read_mapping("amplitude").reading(Reading())
    done, found, _ = imported(Lake(str(tmp_path / "lake")), path, usual, on_refused=refused.extend)

    assert [(one.line, one.details["field"], one.row) for one in refused] == [
        (line, field, records[line - 1])
        for line, field in [
            (2, "event_time, client_event_time"),
            (3, "event"),
            (4, "userId"),
            (5, "event_time"),
            (6, "traits"),
        ]
    ]
    assert (done.accepted, done.rejected, len(found)) == (2, 5, 2)


def test_a_shift_knows_the_times_of_a_format(tmp_path: Path) -> None:
    """With `shift_to_now` the latest event of the file is now."""
    usual = read_mapping("amplitude").reading(Reading())
    _, found, _ = imported(Lake(str(tmp_path)), SAMPLES / "amplitude.jsonl", usual, shift_to_now=True)
    assert [row["ts"] - NOW for row in found] == [-179_850, -119_850, -59_850, -59_850, 0]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1_730_534_400, "s", "2024-11-02T15:00:00.000Z"),
        (1_719_993_600, "s", "2024-07-03T15:00:00.000Z"),
        ("2024-11-02 08:00:00.5", None, "2024-11-02T15:00:00.500Z"),
        ("2024-11-02T08:00:00Z", None, "2024-11-02T08:00:00.000Z"),
        ("2024-11-02 08:00:00 UTC", None, "2024-11-02T08:00:00.000Z"),
        ("2024-11-02 08:00:00+01", None, "2024-11-02T07:00:00.000Z"),
        ("2024-11-02", None, "2024-11-02T07:00:00.000Z"),
    ],
)
def test_times_of_a_zone(value: Any, unit: str | None, expected: str) -> None:
    """By the zone of a format go times that say none themselves, with the summer time of their day."""
    said = '[event]\ntime = "at"\ntime_zone = "US/Pacific"\n' + (f'time_unit = "{unit}"' if unit else "")
    (body,) = mapped({"at": value}, mapping_of(said, "mine.toml"), lambda: "x")
    assert body["timestamp"] == expected


@pytest.mark.parametrize(
    ("value", "zone"), [("0001-01-01 00:00:00", "Europe/Paris"), ("6429-10-17 02:00:00", "US/Pacific")]
)
def test_a_time_that_its_zone_moves_out_of_all_times_is_refused(value: str, zone: str) -> None:
    """The first and the last hours are times by one clock, and by another they are none."""
    mapping = mapping_of(f'[event]\ntime = "at"\ntime_zone = "{zone}"', "mine.toml")
    with pytest.raises(Invalid, match=r"at: .* is no time"):
        mapped({"at": value}, mapping, lambda: "x")


def test_posthog_is_the_same_in_parquet_and_from_its_api(tmp_path: Path) -> None:
    """In Parquet its objects are texts of JSON, and times are timestamps; the events API calls the id otherwise."""
    rows = [json.loads(line) for line in (SAMPLES / "posthog.jsonl").read_text().splitlines()]
    table = pl.DataFrame(
        {
            "uuid": [row["uuid"] for row in rows],
            "event": [row["event"] for row in rows],
            "distinct_id": [row["distinct_id"] for row in rows],
            "timestamp": [datetime.fromisoformat(row["timestamp"]) for row in rows],
            "properties": [json.dumps(row["properties"]) for row in rows],
        }
    )
    table.write_parquet(tmp_path / "events.parquet")
    of_api = [{"id": row["uuid"], **{name: row[name] for name in row if name != "uuid"}} for row in rows]
    (tmp_path / "api.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_api))
    read = read_mapping("posthog").reading(Reading())
    _, expected, expected_claims = imported(Lake(str(tmp_path / "jsonl")), SAMPLES / "posthog.jsonl", read)
    for name in ("events.parquet", "api.jsonl"):
        _, found, claims = imported(Lake(str(tmp_path / f"of {name}")), tmp_path / name, read)
        assert (found, claims) == (expected, expected_claims), name


@pytest.mark.parametrize(
    ("file", "ids"),
    [
        ("segment.jsonl", ["seg-ada", "anon:seg-phone", "anon:seg-old", "user:seg-old"]),
        ("mixpanel.jsonl", ["mp-ada", "anon:mp-phone", "anon:mp-old", "user:mp-old", "anon:mp-older", "user:mp-older"]),
        ("posthog.jsonl", ["ph-ada", "anon:ph-phone", "user:ph-phone", "anon:ph-old", "user:ph-old", "anon:ph-ada"]),
    ],
)
def test_ids_of_a_sample_are_one_person(url: str, tmp_path: Path, file: str, ids: list[str]) -> None:
    """Whatever ties ids in the other tool ties them here: each of them has what all of the person's events count."""
    world = empty_world(url, tmp_path, "trait", {"pages": "events.`Page Viewed`.count", "plan": "profile.plan"})
    import_file(
        world.lake,
        SAMPLES / file,
        reading=read_mapping(FILES[file]).reading(Reading()),
        now_ms=world.store.now_ms(),
        shards=world.settings.shards,
        link=lambda claiming: world.store.follow(complete_links(world.store.operations, claiming)),
    )
    world.drain().step()
    world.rebuild()

    expected = {"pages": 1, "plan": None if file.startswith("mixpanel") else "pro"}
    assert {id: world.values(id) for id in ids} == dict.fromkeys(ids, expected)


def test_a_file_without_an_ending_is_read_as_its_format_is(tmp_path: Path) -> None:
    """Segment's files end in .gz alone, Snowplow's in anything; a heading that somebody gave to the latter is none."""
    read = read_mapping("segment").reading(Reading())
    path = tmp_path / "1730534400000.abc.gz"
    path.write_bytes(gzip.compress((SAMPLES / "segment.jsonl").read_bytes()))
    assert imported(Lake(str(tmp_path / "segment")), path, read)[0].accepted == 5

    mapping = read_mapping("snowplow")
    read = mapping.reading(Reading())
    text = (SAMPLES / "snowplow.tsv").read_text()
    for at, name in enumerate(["part-00000", "headed.tsv"]):
        path = tmp_path / name
        path.write_text("\t".join(mapping.names) + "\n" + text if name == "headed.tsv" else text)
        done, _, _ = imported(Lake(str(tmp_path / "snowplow")), path, read)
        assert (done.accepted, done.already, done.rejected) == ((4, 0, 0), (0, 4, 0))[at], done.refused


def test_a_line_of_too_few_cells_is_refused_without_a_heading(tmp_path: Path) -> None:
    """Lines count from 1: there is no heading before them."""
    path = tmp_path / "part.tsv"
    path.write_text("web\tshop\n" + (SAMPLES / "snowplow.tsv").read_text())
    refused: list[Any] = []
    read = read_mapping("snowplow").reading(Reading())
    done, _, _ = imported(Lake(str(tmp_path / "lake")), path, read, on_refused=refused.extend)
    assert (done.accepted, [(one.line, one.group.split(":")[0]) for one in refused]) == (4, [(1, "too few cells")])


def test_the_table_of_a_file_that_is_named_otherwise(tmp_path: Path) -> None:
    """The command says it; a file of no table that is known is refused as a whole, since nothing names its events."""
    path = tmp_path / "export-7.csv"
    path.write_bytes((SAMPLES / "segment-warehouse" / "identifies.csv").read_bytes())
    lake = Lake(str(tmp_path / "lake"))
    mapping = read_mapping("segment-warehouse")
    with pytest.raises(ImportRefused, match=r"export-7\.csv is of no table .*identifies\*.*event_text.*--table"):
        imported(lake, path, mapping.reading(Reading()))
    done, found, _ = imported(lake, path, mapping.reading(Reading(), "identifies"))
    assert (done.accepted, found[0]["traits"]) == (1, {"plan": "pro", "name": "Ada", "age": 36})


def test_google_analytics_in_parquet_is_the_same(tmp_path: Path) -> None:
    """There whole numbers are numbers, and what JSON leaves out is null."""
    rows = [json.loads(line) for line in (SAMPLES / "ga4.jsonl").read_text().splitlines()]
    value = pa.struct([("string_value", pa.string()), ("int_value", pa.int64()), ("double_value", pa.float64())])
    pairs = pa.list_(pa.struct([("key", pa.string()), ("value", value)]))
    for row in rows:
        for pair in (*row["event_params"], *row["user_properties"]):
            if "int_value" in pair["value"]:
                pair["value"]["int_value"] = int(pair["value"]["int_value"])
        row["event_timestamp"] = int(row["event_timestamp"])
    wanted = ("event_name", "user_id", "user_pseudo_id", "event_timestamp", "event_params", "user_properties")
    table = pa.table(
        {
            name: pa.array([row.get(name) for row in rows], pairs if name[-2:] in ("ms", "es") else None)
            for name in wanted
        }
    )
    pq.write_table(table, tmp_path / "events.parquet")
    (tmp_path / "events.jsonl").write_text(
        "".join(json.dumps({name: row[name] for name in wanted if name in row}) + "\n" for row in rows)
    )
    read = read_mapping("ga4").reading(Reading())
    found = [imported(Lake(str(tmp_path / kind)), tmp_path / f"events.{kind}", read) for kind in ("parquet", "jsonl")]

    events = [
        sorted((row["kind"], row["ts"], str(row["properties"]), str(row["traits"])) for row in one[1]) for one in found
    ]
    assert events[0] == events[1]
    assert [one[0].accepted for one in found] == [5, 5]


@pytest.mark.parametrize(
    ("row", "are_cells", "expected"),
    [
        ({"zip": "00501", "n": "007", "id": "9007199254740993", "p": '{"x": "12"}'}, True, {"n": 7, "x": "12"}),
        ({"zip": 501, "n": "7", "id": 9007199254740993, "p": {"x": "12"}}, False, {"zip": "501", "n": 7, "x": "12"}),
    ],
)
def test_texts_and_numbers_of_a_format(row: dict[str, Any], are_cells: bool, expected: dict[str, Any]) -> None:
    """`text` keeps digits, `number` makes a number; what stands in JSON says itself what it is."""
    said = '[event]\ntime = "at"\ntext = ["id", "zip"]\nnumber = ["n"]\nproperties = ["p", "*"]'
    (body,) = mapped(
        {"at": "2024-11-02", **row},
        mapping_of(said, "mine.toml"),
        lambda: "x",
        are_cells=are_cells,
        has_columns=are_cells,
    )
    assert body["properties"] == {"zip": "00501", "id": "9007199254740993"} | expected
