// analytics.js in a browser: a page of one origin, which loads its settings from the server and sends to it.
const { createServer } = require("node:http");
const { readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { chromium } = require("playwright-core");

const { chromium: executablePath, host, writeKey, user, settings } = JSON.parse(process.argv[2]);
const script = join(dirname(require.resolve("@segment/analytics-next/package.json")), "dist", "umd", "index.js");

const pages = createServer((request, response) => {
  const isScript = request.url.endsWith(".js");
  response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? readFileSync(script) : '<title>Shop</title><script src="/analytics.js"></script>');
});

async function visit({ host, writeKey, user, settings }) {
  const [analytics] = await window.AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL: host }, settings);
  await analytics.track("browser_order", { amount: 8 });  // before anybody has said who this is
  await analytics.identify(user, { browser_plan: "pro" });
  for (const amount of [1, 2, 4]) await analytics.track("browser_order", { amount });
  await analytics.page("Docs", "Install");
  await analytics.screen("Shop", "Cart");
  await analytics.group("acme", { seats: 3 });
  return analytics.user().anonymousId();
}

pages.listen(0, "127.0.0.1", async () => {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
  try {
    const page = await browser.newPage();
    const requests = [];
    const failures = [];
    page.on("requestfinished", async (request) => {
      if (!request.url().startsWith(host)) return;
      const response = await request.response();
      requests.push({ method: request.method(), path: new URL(request.url()).pathname, status: response.status() });
    });
    page.on("requestfailed", (request) => failures.push(`${request.url()} ${request.failure().errorText}`));
    await page.goto(`http://127.0.0.1:${pages.address().port}/`);
    const anonymousId = await page.evaluate(visit, { host, writeKey, user, settings });
    await page.waitForLoadState("networkidle");
    console.log(JSON.stringify({ anonymousId, requests, failures }));
  } finally {
    await browser.close();
    pages.close();
  }
});
