"""OpenFeature's web SDK with its published OFREP provider, as it is, in a browser: it hears of changes by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from tests.protocols.node_clients import NodeClients
from tests.running import RunningStack, api_beside
from tests.served_folder import served
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]

#: The packages as they are published, by the names that they import each other by.
MODULES = {
    "@openfeature/core": "core/dist/esm/index.js",
    "@openfeature/web-sdk": "web-sdk/dist/esm/index.js",
    "@openfeature/ofrep-web-provider": "ofrep-web-provider/index.esm.js",
    "@openfeature/ofrep-core": "ofrep-web-provider/node_modules/@openfeature/ofrep-core/index.esm.js",
}
IMPORTS = ",".join(f'"{name}":"/{path}"' for name, path in MODULES.items())
HTML = f"""<!doctype html><title>Shop</title>
<script type="importmap">{{"imports":{{{IMPORTS}}}}}</script>
<script type="module">
  import {{ OpenFeature, ProviderEvents }} from "@openfeature/web-sdk";
  import {{ OFREPWebProvider }} from "@openfeature/ofrep-web-provider";
  window.begin = async (baseUrl, key, targetingKey, options) => {{
    const client = OpenFeature.getClient();
    window.changes = [];
    window.stale = 0;
    client.addHandler(ProviderEvents.ConfigurationChanged, ({{ flagsChanged }}) => changes.push(flagsChanged));
    client.addHandler(ProviderEvents.Stale, () => window.stale++);
    await OpenFeature.setContext({{ targetingKey }});
    const headers = [["Authorization", `Bearer ${{key}}`]];
    await OpenFeature.setProviderAndWait(new OFREPWebProvider({{ baseUrl, headers, ...options }}));
    window.flag = (name) => client.getBooleanValue(name, false);
    window.context = (targetingKey) => OpenFeature.setContext({{ targetingKey }});
  }};
</script>"""

#: Opens a page whose provider asks about a user: `visit("ada", cacheMode="disabled")`.
Visit: TypeAlias = Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, node_clients: NodeClients) -> Iterator[str]:
    """A site of another origin than the stack's, with the packages."""
    folder = tmp_path_factory.mktemp("site")
    for path in MODULES.values():
        (folder / path).parent.mkdir(parents=True)
        shutil.copy(node_clients.modules / "@openfeature" / path, folder / path)
    (folder / "index.html").write_text(HTML)
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Browser]:
    """A browser without a window."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-background-networking"]
        ) as opened,
    ):
        yield opened


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser's profile of its own."""
    with chromium.new_context() as context:
        yield context


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack with a flag that orders change."""
    stack.define("trait", "ofcs_orders", "events.ofcs_order.count")
    stack.define("flag", "ofcs_loyal", "ofcs_orders >= 2")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


@pytest.fixture
def visit(context: BrowserContext, site: str, defined: RunningStack) -> Visit:
    """Opens a page with a provider, which keeps nothing unless it is told to. Its stream was answered then."""

    def visit(user: str, of: RunningStack = defined, key: str | None = None, **options: Any) -> Page:
        page = context.new_page()
        page.goto(f"{site}/index.html")
        page.wait_for_function("!!window.begin")
        given = [of.stack.api_url, key or of.keys["read"], user, {"cacheMode": "disabled", **options}]
        with page.expect_response(lambda answer: "/v1/stream/" in answer.url):
            page.evaluate("(given) => begin(...given)", given)
        return page

    return visit


def order(stack: RunningStack, user: str, times: int = 2) -> None:
    """Sends so many orders at once."""
    batch = [{"type": "track", "userId": user, "event": "ofcs_order"} for _ in range(times)]
    assert stack.call("POST", "/v1/batch", "write", json={"batch": batch}).status_code == 200


def loyal(page: Page) -> bool:
    """What the flag says on a page."""
    found: bool = page.evaluate("flag('ofcs_loyal')")
    return found


def test_a_page_hears_of_an_event_and_of_a_definition(defined: RunningStack, visit: Visit) -> None:
    """Without polling, and without code of ours: the flag flips by an order, and by an edit of its rule."""
    page = visit("ofcs-page")
    assert loyal(page) is False
    order(defined, "ofcs-page")
    page.wait_for_function("flag('ofcs_loyal')", timeout=10_000)
    assert ["ofcs_loyal"] in page.evaluate("changes")

    for rule, says in (("ofcs_orders >= 9", "false"), ("ofcs_orders >= 2", "true")):
        assert defined.call("PUT", "/v1/admin/flags/ofcs_loyal", json={"rule": rule}).status_code == 200
        page.wait_for_function(f"flag('ofcs_loyal') === {says}", timeout=10_000)
    assert page.evaluate("stale") == 0


def test_a_page_that_starts_with_kept_flags_listens_too(defined: RunningStack, visit: Visit) -> None:
    """The provider keeps the address with the flags: a 304 repeats none, and it opens the kept one."""
    visit("ofcs-kept", cacheMode="local-cache-first").close()
    page = visit("ofcs-kept", cacheMode="local-cache-first")
    order(defined, "ofcs-kept")

    page.wait_for_function("flag('ofcs_loyal')", timeout=10_000)


def test_another_user_of_a_page_has_a_stream_of_their_own(defined: RunningStack, visit: Visit) -> None:
    """A change of the context opens the other's; the first one's orders change nothing any more."""
    page = visit("ofcs-first")
    page.evaluate("context('ofcs-second')")
    order(defined, "ofcs-first")
    order(defined, "ofcs-second")

    page.wait_for_function("flag('ofcs_loyal')", timeout=10_000)
    assert page.evaluate("changes.length") <= 2


@pytest.mark.deep
def test_a_page_goes_on_when_its_api_starts_anew(defined: RunningStack, visit: Visit) -> None:
    """The browser opens the stream again by itself, and the page hears of what changed while nobody answered."""
    with api_beside(defined) as first:
        page = visit("ofcs-anew", of=first)
        port = int(first.stack.api_url.rpartition(":")[2])
    order(defined, "ofcs-anew")
    with api_beside(defined, port=port):
        page.wait_for_function("flag('ofcs_loyal')", timeout=40_000)
        page.close()


@pytest.mark.deep
def test_a_page_hears_no_more_once_its_key_is_revoked(defined: RunningStack, visit: Visit) -> None:
    """The stream ends, the browser is told that there is none, and asks ever more rarely."""
    made = defined.call("POST", "/v1/admin/keys", json={"kind": "read", "label": "ofcs"}).json()
    page = visit("ofcs-revoked", key=made["key"])
    assert page.evaluate("stale") == 0
    statuses: list[int] = []
    page.on("response", lambda answer: "/v1/stream/" in answer.url and statuses.append(answer.status))
    assert defined.call("DELETE", f"/v1/admin/keys/{made['id']}").status_code == 200

    page.wait_for_function("stale > 0", timeout=20_000)
    wait_until(lambda: page.evaluate("1") and 404 in statuses, "the address is refused", 20)
    order(defined, "ofcs-revoked")
    assert loyal(page) is False


@pytest.mark.deep
def test_a_page_whose_stream_was_never_open_is_told_of_no_revoked_key(
    defined: RunningStack, visit: Visit, context: BrowserContext
) -> None:
    """The first connection is refused: the provider tells its page nothing, and asks for the flags by itself."""
    made = defined.call("POST", "/v1/admin/keys", json={"kind": "read", "label": "ofcs"}).json()
    statuses: list[int] = []
    context.on("response", lambda answer: "/ofrep/" in answer.url and statuses.append(answer.status))

    def revoke_first(route: Route) -> None:
        defined.call("DELETE", f"/v1/admin/keys/{made['id']}")
        route.continue_()

    context.route("**/v1/stream/**", revoke_first, times=1)
    page = visit("ofcs-early", key=made["key"])

    wait_until(lambda: page.evaluate("1") and 401 in statuses, "the provider asks again", 20)
    assert (page.evaluate("stale"), loyal(page)) == (0, False)


def test_a_browsers_own_event_source_reads_it(defined: RunningStack, site: str, context: BrowserContext) -> None:
    """Data as JSON, and the id, as `EventSource` gives them; a ticket that nobody gave out closes it for good."""
    page = context.new_page()
    page.goto(f"{site}/index.html")
    body = {"userId": "ofcs-own", "stream": True}
    path = defined.call("POST", "/v1/decide", "read", json=body).json()["stream"]
    page.evaluate(
        """(url) => {
          window.told = [];
          const source = new EventSource(url);
          source.onmessage = ({ data, lastEventId }) => told.push([JSON.parse(data).type, lastEventId]);
          const other = new EventSource(url.slice(0, -4) + "0000");
          other.onerror = () => (window.refused = other.readyState);
        }""",
        defined.stack.api_url + path,
    )
    page.wait_for_function("told.length === 1 && window.refused === 2")
    order(defined, "ofcs-own")
    page.wait_for_function("told.length === 2")

    (first, second) = page.evaluate("told")
    assert (first[0], second[0]) == ("refetchEvaluation",) * 2
    assert first[1] != second[1]
