"""The page that asks for a key: plain HTML, so that a key is typed into a form that no script reads."""

from __future__ import annotations

import base64
from hashlib import sha256
from html import escape

STYLE = """
:root { color-scheme: light dark; --page: #f7f8fa; --card: #ffffff; --text: #1b1f27; --soft: #5d6675; --line: #dfe3ea;
  --accent: #0f766e; --on-accent: #ffffff; --wrong: #b42318; }
@media (prefers-color-scheme: dark) { :root { --page: #12151b; --card: #1a1e26; --text: #e7eaf0; --soft: #9aa4b5;
  --line: #2c323d; --accent: #2dd4bf; --on-accent: #06231f; --wrong: #f97066; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page); color: var(--text);
  font: 15px/1.5 "Source Sans", system-ui, sans-serif; }
main { width: min(26rem, calc(100vw - 2rem)); background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 2rem; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
p { margin: 0 0 1.25rem; color: var(--soft); }
p.wrong { color: var(--wrong); }
label { display: block; font-weight: 600; margin-bottom: .35rem; }
input { width: 100%; padding: .6rem .7rem; font: inherit; color: inherit; background: var(--page);
  border: 1px solid var(--line); border-radius: 6px; }
input:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
button { margin-top: 1rem; width: 100%; padding: .6rem; font: inherit; font-weight: 600; color: var(--on-accent);
  background: var(--accent); border: 0; border-radius: 6px; cursor: pointer; }
small { display: block; margin-top: 1.25rem; color: var(--soft); }
code { font-family: ui-monospace, monospace; font-size: .9em; }
"""
#: The page loads nothing, runs nothing, is shown in no frame, and sends its form to the console alone.
POLICY = (
    "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(sha256(STYLE.encode()).digest()).decode()
    + "'"
)


def key_page(action: str, next_path: str, wrong: str | None = None) -> str:
    """The form for a key. `wrong`: why the one before was refused."""
    return _page(
        action,
        f"""<h1>TinyCDP console</h1>
{_reason(wrong) or "<p>Sign in with an admin key or a viewer key.</p>"}
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus spellcheck="false">
<input type="hidden" name="next" value="{escape(next_path)}">
<button>Sign in</button>
<small>The first admin key is in <code>keys.json</code> under <code>TINYCDP_HOME</code>. The key stays in the memory of
the console, until you sign out or for 12 hours without use.</small>""",
    )


def link_page(action: str, secret: str) -> str:
    """The page of a link that signs in once. A button, since programs that only look at links would use it up."""
    return _page(
        action,
        f"""<h1>TinyCDP console</h1>
<p>This link signs you in once.</p>
<input type="hidden" name="link" value="{escape(secret)}">
<button autofocus>Sign in</button>""",
    )


def leave_page(action: str) -> str:
    """The page that asks before it signs out. A page of others may lead here, and nobody is signed out by that."""
    return _page(
        action,
        """<h1>TinyCDP console</h1>
<p>Sign out on this browser? The console forgets the key.</p>
<button autofocus>Sign out</button>""",
    )


def _reason(wrong: str | None) -> str:
    return f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""


def _page(action: str, content: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>TinyCDP</title><style>{STYLE}</style></head>
<body><main><form method="post" action="{escape(action)}">
{content}
</form></main></body></html>"""
