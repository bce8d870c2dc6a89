import { defineConfig } from "vite";

// The client is linked from this checkout, where its tools have a React of their own: the page needs one React, the shop's.
export default defineConfig({ resolve: { dedupe: ["react", "react-dom"] } });
