"""Which kinds of keys may make which call: one table of all routes. A route that it lacks takes an admin's key.

A path stands here as its route is written. It may begin with a second slash or end in one where the route's twin does.
"""

from __future__ import annotations

from collections.abc import Mapping

from serving.access.keys import ADMINISTER, DECIDE, KNOW, OPEN, SEND, VIEW, Permission

PERMISSIONS: Mapping[str, Permission] = {
    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────
    **{
        f"POST /v1/{name}": SEND
        for kind in ("track", "identify", "page", "screen", "group", "alias", "batch")
        for name in (kind, kind[0])
    },
    "POST /v1/import": SEND,
    "POST /v1/m": OPEN,
    "GET /v1/projects/{write_key}/settings": OPEN,  # the key is in the path
    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────
    "GET /v1/decide": DECIDE,
    "POST /v1/decide": DECIDE,
    "POST /ofrep/v1/evaluate/flags": DECIDE,
    "POST /ofrep/v1/evaluate/flags/{key}": DECIDE,
    "GET /v1/users/{user}/traits": KNOW,
    "GET /v1/stream/{ticket}": OPEN,  # the ticket stands for a key
    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────
    **{
        call: permission
        for kinds in ("traits", "segments", "flags")
        for call, permission in {
            f"GET /v1/admin/{kinds}": VIEW,
            f"POST /v1/admin/{kinds}": ADMINISTER,
            f"GET /v1/admin/{kinds}/{{key}}": VIEW,
            f"PUT /v1/admin/{kinds}/{{key}}": ADMINISTER,
            f"DELETE /v1/admin/{kinds}/{{key}}": ADMINISTER,
        }.items()
    },
    "GET /v1/admin/{kinds}/{key}/history": VIEW,
    "POST /v1/admin/{kinds}/{key}/rollback": ADMINISTER,
    "POST /v1/admin/validate": VIEW,
    "POST /v1/admin/preview": VIEW,
    "POST /v1/admin/analyses": VIEW,
    "GET /v1/admin/analyses/{analysis_id}": VIEW,
    "DELETE /v1/admin/analyses/{analysis_id}": VIEW,
    "GET /v1/admin/flags/{key}/people": VIEW,
    "GET /v1/admin/segments/{key}/members": VIEW,
    "GET /v1/admin/vocabulary": VIEW,
    "GET /v1/admin/vocabulary/values": VIEW,
    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────
    "GET /v1/admin/users/search": VIEW,
    "GET /v1/admin/users/{user}": VIEW,
    "GET /v1/admin/users/{user}/identity": VIEW,
    "GET /v1/admin/users/{user}/events": VIEW,
    "GET /v1/admin/users/{user}/decisions": VIEW,
    "GET /v1/admin/events": VIEW,
    "GET /v1/admin/users/{user}/data": ADMINISTER,  # all of a person, to be taken away
    "POST /v1/admin/users/{user}/unlink": ADMINISTER,
    "DELETE /v1/admin/users/{user}": ADMINISTER,
    # ── refused events ───────────────────────────────────────────────────────────────────────────────────────────
    "GET /v1/admin/rejected": VIEW,
    "POST /v1/admin/rejected/redrive": ADMINISTER,
    # ── exports: people's ids leave the system ───────────────────────────────────────────────────────────────────
    "GET /v1/export/list": ADMINISTER,
    "GET /v1/export/segment/{key}.csv": ADMINISTER,
    "GET /v1/export/segment/{key}": ADMINISTER,
    "POST /v1/export/segment/{key}.csv": ADMINISTER,
    "POST /v1/export/segment/{key}": ADMINISTER,
    "GET /v1/export/{export_id}": ADMINISTER,
    "GET /exports/files/{name}": OPEN,  # the address is signed
    # ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────
    "GET /v1/admin/keys": VIEW,
    "POST /v1/admin/keys": ADMINISTER,
    "DELETE /v1/admin/keys/{key_id}": ADMINISTER,
    "GET /v1/admin/audit": VIEW,
    "GET /v1/admin/runs": VIEW,
    "POST /v1/admin/rebuild": ADMINISTER,
    "GET /v1/admin/metrics": VIEW,
    "GET /v1/admin/workspace": VIEW,
    "GET /v1/admin/activity": VIEW,
    "GET /v1/admin/activity/flags": VIEW,
    "GET /v1/admin/activity/segments": VIEW,
    "GET /metrics": VIEW,
    "GET /health": OPEN,
    **{
        f"GET /{part}/health": OPEN
        for part in ("ingest", "identity", "traits", "segments", "decide", "exports", "admin")
    },
    **{f"GET {path}": OPEN for path in ("/openapi.json", "/docs")},
}


def permission(method: str, path: str) -> Permission:
    """What a call takes, by its method and its path as the route is written."""
    return PERMISSIONS.get(f"{method} {path}", ADMINISTER)
