// The web SDK of OpenFeature on a user's flag: prints what it says at first, and again once the server's answer changed.
const { OpenFeature, ProviderEvents } = require("@openfeature/web-sdk");
const { OFREPWebProvider } = require("@openfeature/ofrep-web-provider");

const { host, headers, user, flag } = JSON.parse(process.argv[2]);
const statuses = [];
const counted = async (...request) => {
  const response = await fetch(...request);
  statuses.push(response.status);
  return response;
};

(async () => {
  const provider = new OFREPWebProvider({
    baseUrl: host,
    headers: Object.entries(headers),
    pollInterval: 100,
    cacheMode: "disabled",
    fetchImplementation: counted,
  });
  const client = OpenFeature.getClient();
  await OpenFeature.setContext({ targetingKey: user });
  await OpenFeature.setProviderAndWait(provider);
  const say = (more) => console.log(JSON.stringify({ ...client.getBooleanDetails(flag, false), ...more }));
  client.addHandler(ProviderEvents.ConfigurationChanged, async () => {
    say({ statuses });
    await OpenFeature.close();
    process.exit(0);
  });
  // Wait until the provider has been told that nothing changed, so that what comes next is a change.
  while (!statuses.includes(304)) await new Promise((done) => setTimeout(done, 20));
  say({});
})();
