"""What this process' console is: where it answers, where the API answers, and who is signed in.

The server sets it before it takes requests; screens and routes read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dashboard.keyring import Keyring

#: Names by which a browser on the same machine reaches it.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Console:
    """`base_path` is empty, or begins with a slash and ends without one. `hosts`: the names it may be reached by.

    `public_url` is how clients reach the API, where that is another address than the console's way to it.
    """

    api_url: str
    host: str = "127.0.0.1"
    port: int = 8501
    base_path: str = ""
    hosts: tuple[str, ...] = LOOPBACK
    public_url: str | None = None
    keyring: Keyring = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keyring", Keyring(self.api_url))

    @property
    def clients_url(self) -> str:
        """The address of the API for apps and people."""
        return self.public_url or self.api_url

    @property
    def cookie(self) -> str:
        """The cookie's name. Browsers send cookies to every port of a host, so the port tells consoles apart."""
        return f"tinycdp_console_{self.port}"


_console: Console | None = None


def set_console(console: Console) -> None:
    """Says what this process' console is."""
    global _console
    _console = console


def console() -> Console:
    """This process' console."""
    assert _console is not None, "set_console was not called"
    return _console
