import { TinyCDPClient } from "@tinycdp/sdk";
interface StreamSettings {
  endpoint: string;
  readKey?: string | undefined;
  decideTimeout: number;
  autoStart: boolean;
  fetch: typeof fetch;
}
declare function changeStream(client: TinyCDPClient, settings: StreamSettings): TinyCDPClient;
export { changeStream };
