/** Behind the counter: what the client has sent and was told, live, and a switch that takes the page offline. */

import type { Stats } from "@tinycdp/sdk";
import { useFeatureFlag, useTinyCDP } from "@tinycdp/sdk/react";
import { useEffect, useState } from "react";
import type { Line } from "./wire";
import { clearLog, setOnline, useWire } from "./wire";

const FLAGS = ["member_price", "free_shipping", "checkout_button", "help_chat"];
const LOOK_MS = 250;

export function Counter() {
  const { client } = useTinyCDP();
  const { lines, isOnline, decisions } = useWire();
  const stats = useStats();
  const lost = [stats.dropped, stats.refused, stats.unknown].flatMap((one) => Object.values(one));

  return (
    <section className="counter" aria-label="Behind the counter">
      <h2>Behind the counter</h2>
      <label className="switch">
        <input type="checkbox" role="switch" checked={isOnline} onChange={(event) => setOnline(event.target.checked)} />
        <span>{isOnline ? "Online" : "Offline: events wait in this browser"}</span>
      </label>
      <dl className="tiles">
        <Tile name="Waiting" value={stats.queued} />
        <Tile name="Sent" value={stats.sent} />
        <Tile name="Lost" value={lost.reduce((sum, count) => sum + count, 0)} />
        <Tile name="Answers" value={decisions} />
      </dl>
      <h3>What the flags say</h3>
      <ul className="flags">
        {FLAGS.map((flag) => (
          <FlagLine key={flag} flag={flag} />
        ))}
      </ul>
      <h3>What goes over the wire</h3>
      <div className="actions">
        <button type="button" className="quiet" onClick={() => void client.flush()}>
          Send now
        </button>
        <button type="button" className="quiet" onClick={clearLog}>
          Clear
        </button>
      </div>
      <ol className="log" aria-label="Log">
        {lines.map((line, index) => (
          <LogLine key={line.id || `${line.what} ${line.at.getTime()} ${lines.length - index}`} line={line} />
        ))}
      </ol>
      {lines.length === 0 && <p className="empty">Nothing yet.</p>}
    </section>
  );
}

/** The client's own figures, looked at a few times a second. */
function useStats(): Stats {
  const { client } = useTinyCDP();
  const [stats, setStats] = useState(() => client.stats());
  useEffect(() => {
    const timer = setInterval(() => setStats(client.stats()), LOOK_MS);
    return () => clearInterval(timer);
  }, [client]);
  return stats;
}

function Tile({ name, value }: { name: string; value: number }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

/** A flag's answer, and why. */
function FlagLine({ flag }: { flag: string }) {
  const { value: allow, decision, error } = useFeatureFlag(flag);
  const because = error ?? decision?.reasons.find((reason) => !reason.startsWith("final_result"));
  return (
    <li>
      <code>{flag}</code>
      <b className={allow ? "yes" : "no"}>{decision ? (decision.variant ?? (allow ? "yes" : "no")) : "…"}</b>
      <small>{because ?? ""}</small>
    </li>
  );
}

function LogLine({ line }: { line: Line }) {
  return (
    <li className={line.kind} data-state={line.state}>
      <time dateTime={line.at.toISOString()}>{line.at.toLocaleTimeString("en-GB")}</time>
      <span>
        <b>{line.what}</b> {line.details}
      </span>
      <small>{line.state}</small>
    </li>
  );
}
