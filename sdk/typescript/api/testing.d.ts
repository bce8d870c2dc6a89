import { TinyCDPClient, TinyCDPOptions, TrackEvent } from "@tinycdp/sdk";
type FlagAnswer = unknown | ((userId: string) => unknown);
interface RecordingOptions extends Partial<TinyCDPOptions> {
  flags?: Record<string, FlagAnswer> | undefined;
}
interface RecordingClient extends TinyCDPClient {
  readonly events: TrackEvent[];
  readonly flags: Record<string, FlagAnswer>;
}
declare function recordingClient({
  flags,
  ...options
}?: RecordingOptions): RecordingClient;
export { FlagAnswer, RecordingClient, RecordingOptions, recordingClient };
