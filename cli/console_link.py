"""A link that signs in to the console once, so that nobody copies a key out of a file.

The console makes it for whoever has the admin key, which is sent to it over this machine's own network.
"""

from __future__ import annotations

import httpx2

from cli.stack import Stack
from cli.terminal import err, out
from serving.access.keys import raw_keys
from serving.settings import Settings

ANSWER_S = 10.0


class ConsoleError(RuntimeError):
    """The console made no link; the message ends with the remedy."""


def console_link(stack: Stack, settings: Settings) -> str:
    """The address of the link. Raises `ConsoleError`."""
    headers = {"Authorization": f"Bearer {raw_keys(settings)['admin']}"}
    try:
        answer = httpx2.post(f"{stack.console_url}/sign-in/links", headers=headers, timeout=ANSWER_S)
    except httpx2.TransportError as error:
        raise ConsoleError(f"the console does not answer ({error}): sign in with a key") from None
    if not answer.is_success:
        raise ConsoleError(f"the console made no link ({answer.status_code}): sign in with a key")
    return str(httpx2.URL(str(stack.console_url)).join(answer.json()["path"]))


def say_sign_in(stack: Stack, settings: Settings) -> None:
    """Prints a link that signs in to the console, where there is one."""
    if stack.console_url is None:
        return
    try:
        out.print(f"sign in  {console_link(stack, settings)}  (once, within an hour)", soft_wrap=True)
    except ConsoleError as error:  # a key does as well
        err.print(str(error), markup=False)
