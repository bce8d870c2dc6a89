// What the server SDK of OpenFeature says of some flags, in order: [{type, key, default, context}] → details.
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

const { host, headers, asked } = JSON.parse(process.argv[2]);

(async () => {
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: host, headers: Object.entries(headers) }));
  const client = OpenFeature.getClient();
  const found = [];
  for (const { type, key, default: fallback, context } of asked) {
    found.push(await client[`get${type}Details`](key, fallback, context));
  }
  console.log(JSON.stringify(found));
  await OpenFeature.close();
})();
