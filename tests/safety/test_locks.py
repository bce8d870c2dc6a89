"""Lock files name versions and hashes, and no place that they come from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("package-lock.json", "requirements.lock")


def test_no_lock_file_holds_an_address() -> None:
    """Neither of a registry nor of whoever asks for money: everybody installs from the index that is theirs."""
    ours = [part for part in ROOT.iterdir() if part.is_dir() and not part.name.startswith(".")]
    found = [path for part in ours for name in NAMES for path in part.rglob(name) if "node_modules" not in path.parts]
    locks = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "requirements.lock", *found]}

    assert locks.keys() >= {
        "requirements.lock",
        "deploy/requirements.lock",
        "dashboard/editor/source/package-lock.json",
        *(f"examples/{name}/package-lock.json" for name in ("shop", "node-service", "patterns")),
        "sdk/typescript/package-lock.json",
        "tests/protocols/clients/package-lock.json",
    }
    assert [path for path, text in locks.items() if "://" in text] == []
