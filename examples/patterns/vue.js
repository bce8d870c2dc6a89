/** TinyCDP in Vue 3: `app.use(tinycdp, options)`, and `useFlag("free_shipping", false)` in a component. */

import { initTinyCDP } from "@tinycdp/sdk";
import { inject, onScopeDispose, shallowReadonly, shallowRef } from "vue";

const CLIENT = Symbol("tinycdp");

/** Takes every option of a client, or a `client` of the app's own, which the plugin does not end. */
export const tinycdp = {
  install(app, { client, ...options }) {
    const used = client ?? initTinyCDP(options);
    app.provide(CLIENT, used);
    if (!client) app.onUnmount(() => used.destroy());
  },
};

/** The client. Throws where the app does not use the plugin. */
export function useTinyCDP() {
  const client = inject(CLIENT, undefined);
  if (!client) throw new Error("useTinyCDP: the app does not use the plugin; call app.use(tinycdp, …) first");
  return client;
}

/**
 * A flag's value as a ref: the default until there is an answer, then what the server says. It is asked for again whenever
 * the client says that the server knows more. In a browser it is of whoever uses it; elsewhere `userId` says of whom.
 */
export function useFlag(flag, fallback, userId) {
  const client = useTinyCDP();
  const value = shallowRef(fallback);
  let asked = 0;
  const ask = async () => {
    const mine = ++asked;
    const decision = await client.decide({ flag, default: fallback, userId });
    if (mine === asked) value.value = decision.value; // an older answer that comes late is old
  };
  void ask();
  onScopeDispose(client.subscribe(ask));
  return shallowReadonly(value);
}
