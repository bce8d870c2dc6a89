"""Lock files name versions and hashes, and no place that they come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_lock_file_holds_an_address() -> None:
    """Neither of a registry nor of whoever asks for money: everybody installs from the index that is theirs."""
    names = ("package-lock.json", "requirements.lock")
    listed = subprocess.run(
        ["git", "ls-files", "--", *(f":(glob)**/{name}" for name in names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    locks = {path: (ROOT / path).read_text() for path in listed.stdout.split()}

    assert "requirements.lock" in locks and "sdk/typescript/package-lock.json" in locks
    assert [path for path, text in locks.items() if "://" in text] == []
