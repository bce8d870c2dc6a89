"""Exports of segment members, as an administrator meets them: on a real stack."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import httpx
import psutil
import pytest

from serving.access.signing import Signer
from serving.lookups.job_process import ATTEMPTS
from tests.running import RunningStack
from tests.serving.api.test_identity import sent
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

HEADER = "user_id,created_at,in_segment,since,updated_at,device_id,external_id,email_hash"
SIGNED = "2024-03-01T00:00:00.000Z"


def signup(stack: RunningStack, **more: Any) -> None:
    """Somebody becomes a member, in 2024."""
    sent(stack, "track", event="ex_signup", timestamp=SIGNED, **more)


@pytest.fixture(scope="module")
def exporting(stack: RunningStack) -> RunningStack:
    """A stack with members of every kind, drained."""
    stack.define("segment", "signed_up", "events.ex_signup.count >= 1")
    stack.define("segment", "nobody_is_here", "events.ex_signup.count >= 1000")
    signup(stack, userId="ex-ada", deviceId="ex-tv")
    signup(stack, userId="ex-ada", emailHash="AB")
    signup(stack, deviceId="ex-pad")
    signup(stack, emailHash="cd")
    for odd in ODD:
        signup(stack, userId=odd)
    drained(stack)
    return stack


#: Ids that a careless file would break at, and that a spreadsheet would calculate.
ODD = ('ex "q", r', "ex\nline", "ex é 漢 🙂", "=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "anon:ex-user", "a;=b")


def drained(stack: RunningStack) -> None:
    """Waits until the lake has what was sent."""
    wait_until(lambda: stack.call("GET", "/health", None).json()["checks"]["drain"]["lag_events"] == 0, "a drain")


def exported(stack: RunningStack, key: str) -> dict[str, Any]:
    """An export, which must be answered."""
    answer = stack.call("GET", f"/v1/export/segment/{key}")
    assert answer.status_code == 200, answer.text
    export: dict[str, Any] = answer.json()
    return export


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """The rows of a file, by user id."""
    return {row["user_id"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}


def test_an_export_has_every_member_with_the_ids_they_are_known_by(exporting: RunningStack) -> None:
    """The file has one row a person, with ids of all kinds, quoted, and no line end after the last row.

    D-7: an export of anybody was 500.
    """
    export = exported(exporting, "signed_up")
    answer = httpx.get(export["downloadUrl"])
    text = answer.content.decode("utf-8")
    rows = rows_of(text)

    assert text.startswith(HEADER + '\n"')
    assert text.endswith('"')
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{export["filename"]}"'
    assert answer.headers["cache-control"] == "private, no-store"
    ada = rows["ex-ada"]
    assert (ada["device_id"], ada["external_id"], ada["email_hash"]) == ("ex-tv", "ex-ada", "ab")
    assert (ada["created_at"], ada["in_segment"]) == (SIGNED, "true")
    assert SIGNED < ada["since"] <= ada["updated_at"]
    pad, email = rows["anon:ex-pad"], rows["email:cd"]
    assert (pad["device_id"], pad["external_id"], pad["email_hash"]) == ("ex-pad", "", "")
    assert (email["device_id"], email["external_id"], email["email_hash"]) == ("", "", "cd")
    assert "anon:ex-tv" not in rows and "email:ab" not in rows
    assert export["userCount"] == len(rows) == text.count(f'"{SIGNED}","true"')
    assert export["filename"] == f"segment_signed_up_{ada['updated_at'][:10]}.csv"


@pytest.mark.deep
def test_no_id_breaks_the_file_or_is_calculated_by_a_spreadsheet(exporting: RunningStack) -> None:
    """Quotes, commas, line ends and other scripts come through; what begins like a formula has an apostrophe before.

    D-27.
    """
    rows = rows_of(exporting.call("GET", "/v1/export/segment/signed_up.csv").text)
    in_file = {id: f"'{id}" if id[0] in "=+-@\t\r" else id for id in ODD}

    assert {id for id in ODD if rows.get(in_file[id], {}).get("external_id") == in_file[id]} == {
        id for id in ODD if id != "anon:ex-user"
    }
    assert rows["user:anon:ex-user"]["external_id"] == "anon:ex-user"


@pytest.mark.deep
def test_an_empty_segment_is_its_header(exporting: RunningStack) -> None:
    """The file of an empty segment is its header without a line end; an unknown segment is 404."""
    answer = exporting.call("GET", "/v1/export/segment/nobody_is_here.csv")

    assert (answer.status_code, answer.text) == (200, HEADER)
    for method, path in (("GET", "none"), ("GET", "none.csv"), ("POST", "none")):
        missing = exporting.call(method, f"/v1/export/segment/{path}")
        assert (missing.status_code, missing.json()["message"]) == (404, "Segment not found")


@pytest.mark.deep
def test_a_later_export_of_the_day_takes_the_place_of_the_file_and_leaves_who_was_deleted_out(
    exporting: RunningStack,
) -> None:
    """There is one file for a segment and a day, with the members of now."""
    exporting.define("segment", "leavers", "events.leave.count >= 1")
    for user in ("lea", "leo"):
        sent(exporting, "track", userId=user, event="leave", deviceId=f"{user}-pad")
    drained(exporting)
    first = exported(exporting, "leavers")
    deleted = exporting.call("DELETE", "/v1/admin/users/anon:lea-pad").json()
    assert deleted["settled"] is True
    second = exported(exporting, "leavers")

    assert (first["userCount"], second["userCount"]) == (2, 1)
    assert list(rows_of(httpx.get(first["downloadUrl"]).text)) == ["leo"]
    kept = exporting.call("GET", "/v1/export/list").json()["exports"]
    assert [export["name"] for export in kept].count(second["filename"]) == 1


@pytest.mark.deep
def test_the_list_has_what_is_kept_the_newest_first_in_pages(exporting: RunningStack) -> None:
    """Each file has its size, its tag and its address; other files in the folder are not listed (D-34)."""
    exported(exporting, "nobody_is_here")
    latest = exported(exporting, "signed_up")
    folder = exporting.settings.home / "lake" / "exports"
    (folder / "notes.txt").write_text("mine")
    listed = exporting.call("GET", "/v1/export/list").json()
    names = [export["name"] for export in listed["exports"]]
    pages = [exporting.call("GET", f"/v1/export/list?limit=1&offset={at}").json() for at in range(len(names))]

    assert names[0] == latest["filename"] and "notes.txt" not in names
    assert [page["exports"][0]["name"] for page in pages] == names
    assert [page["hasMore"] for page in pages] == [True] * (len(names) - 1) + [False]
    assert (listed["total"], listed["hasMore"]) == (len(names), False)
    newest = listed["exports"][0]
    assert newest["size"] == len(httpx.get(newest["downloadUrl"]).content) and newest["etag"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.deep
def test_a_started_export_says_how_far_it_is(exporting: RunningStack) -> None:
    """The answer comes at once, with an id by which the export can be watched until its file is there."""
    started = exporting.call("POST", "/v1/export/segment/signed_up").json()
    assert started["state"] in ("waiting", "running")

    def seen() -> dict[str, Any]:
        export: dict[str, Any] = exporting.call("GET", f"/v1/export/{started['id']}").json()
        return export

    done = wait_until(lambda: (export := seen())["state"] == "done" and export, "the export")
    assert done["done"] == done["of"] > 0
    assert len(rows_of(httpx.get(done["downloadUrl"]).text)) == done["userCount"]
    unknown = exporting.call("GET", "/v1/export/abcdef")
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Export not found")
    entries = exporting.call("GET", "/v1/admin/audit?limit=1000").json()["entries"]
    noted = [entry for entry in entries if entry["details"].get("export") == started["id"]]
    assert [(entry["action"], entry["kind"], entry["key"]) for entry in noted] == [("export", "segment", "signed_up")]


@pytest.mark.parametrize("key", ["read", "write", None])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "segment/signed_up"), ("GET", "segment/signed_up.csv"), ("POST", "segment/signed_up"), ("GET", "list")],
)
def test_only_an_admin_exports(exporting: RunningStack, key: Any, method: str, path: str) -> None:
    """A read key, a write key and no key are refused."""
    answer = exporting.call(method, f"/v1/export/{path}", key)
    assert answer.status_code == (401 if key is None else 403)


def changed(url: str, path: Callable[[str], str] = str, **query: str) -> str:
    """An address with another path or query."""
    parts = urlsplit(url)
    parameters = {name: values[0] for name, values in parse_qs(parts.query).items()} | query
    return urlunsplit(parts._replace(path=path(parts.path), query=str(httpx.QueryParams(parameters))))


@pytest.mark.deep
def test_an_address_opens_its_own_file_for_an_hour_and_nothing_else(exporting: RunningStack) -> None:
    """An address is refused if it has expired, was changed, has another signature or file, or leads elsewhere.

    D-27: files were public, for ever.
    """
    url = exported(exporting, "signed_up")["downloadUrl"]
    name = urlsplit(url).path.rpartition("/")[2]
    other = name.replace("signed_up", "nobody_is_here")
    expires = int(parse_qs(urlsplit(url).query)["expires"][0])
    own, foreign = Signer(exporting.settings.home), Signer(exporting.settings.home / "other")

    def status(url: str) -> int:
        return httpx.get(url).status_code

    def signed(name: str, at: int = expires, signer: Signer = own) -> str:
        path = httpx.URL(f"{exporting.stack.api_url}/exports/files/").join(name)
        return f"{path}?expires={at}&signature={signer.signature(name, at)}"

    assert status(url) == status(signed(name)) == 200
    assert status(signed(name, 1_700_000_000)) == 403
    assert status(changed(url, expires=str(expires + 60))) == 403
    assert status(changed(url, signature="0" * 64)) == status(changed(url, signature="é")) == 403
    assert status(signed(name, signer=foreign)) == 403
    assert status(changed(url, lambda path: path.replace(name, other))) == 403
    assert status(signed("notes.txt")) == status(signed("segment_gone_2024-01-01.csv")) == 404
    for trick in ("..%2F..%2Fkeys.json", "%2e%2e", "%2Fetc%2Fpasswd", "segment_a_2024-01-01.csv%00"):
        refused = httpx.get(f"{exporting.stack.api_url}/exports/files/{trick}?expires={expires}&signature=0")
        assert refused.status_code in (403, 404)
    secret = exporting.settings.home / "signing.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert status(urlunsplit(urlsplit(url)._replace(query=""))) == 400


@pytest.mark.deep
def test_many_who_ask_at_once_share_the_export_that_waits(exporting: RunningStack) -> None:
    """One export is under way, and all other callers wait for the same next one."""
    with ThreadPoolExecutor(8) as pool:
        exports = pool.map(lambda _: exporting.call("POST", "/v1/export/segment/signed_up").json(), range(8))
        ids = {export["id"] for export in exports}

    assert 1 <= len(ids) <= 2
    for export_id in ids:
        wait_until(
            lambda export_id=export_id: exporting.call("GET", f"/v1/export/{export_id}").json()["state"] == "done",
            "the export",
        )


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("_time", range(4))
def test_an_export_whose_process_is_killed_has_failed_and_leaves_nothing(exporting: RunningStack, _time: int) -> None:
    """Killed once it begins again. Killed each time it says why it failed, and the earlier file is still there.

    Four times, since a process may also be killed before it is given its order.
    """
    before = exported(exporting, "signed_up")
    known = set(psutil.pids())
    answer = exporting.call("POST", "/v1/export/segment/signed_up")
    assert answer.status_code == 200, answer.text
    for _ in range(ATTEMPTS):
        known.add(wait_until(lambda: killed(exporting, known), "its process"))

    def seen() -> dict[str, Any]:
        export: dict[str, Any] = exporting.call("GET", f"/v1/export/{answer.json()['id']}").json()
        return export

    failed = wait_until(lambda: (export := seen())["state"] != "running" and export, "the end")
    assert (failed["state"], failed.get("downloadUrl")) == ("failed", None)
    assert "was ended by signal 9" in failed["error"]
    assert len(rows_of(httpx.get(before["downloadUrl"]).text)) == before["userCount"]


def killed(stack: RunningStack, known: Set[int]) -> int | None:
    """The pid of the process of this stack's export, which is killed, if there is one that is not `known`.

    It lives for a second: so no other process of this machine is looked at again and again.
    """
    home = str(stack.settings.home)
    for pid in set(psutil.pids()) - known:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if "serving.lookups.export_job" in process.cmdline() and process.environ().get("TINYCDP_HOME") == home:
                process.kill()
                return pid
    return None
