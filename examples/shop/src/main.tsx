/** The page: one client for all of it, whose flags the server keeps up to date. Events and answers are shown as they pass. */

import { TinyCDPProvider } from "@tinycdp/sdk/react";
import { changeStream } from "@tinycdp/sdk/stream";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Counter } from "./Counter";
import { Shop } from "./Shop";
import "./shop.css";
import { noteEvent, noteFailure, watchedFetch } from "./wire";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <TinyCDPProvider
      endpoint={import.meta.env.VITE_TINYCDP_URL}
      writeKey={import.meta.env.VITE_TINYCDP_WRITE_KEY}
      readKey={import.meta.env.VITE_TINYCDP_READ_KEY}
      flushIntervalMs={250}
      stream={changeStream}
      context={{ device: { type: matchMedia("(pointer: coarse)").matches ? "mobile" : "desktop" } }}
      beforeSend={noteEvent}
      onError={noteFailure}
      fetch={watchedFetch}
    >
      <Shop />
      <Counter />
    </TinyCDPProvider>
  </StrictMode>,
);
