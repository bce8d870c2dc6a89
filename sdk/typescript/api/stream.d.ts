import { FlagStream, StreamSettings } from "@tinycdp/sdk";
declare function changeStream(settings: StreamSettings): FlagStream | undefined;
export { changeStream };
