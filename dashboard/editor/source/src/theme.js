// The looks, from the custom properties that Streamlit sets: light and dark follow by themselves.

import { EditorView } from "@codemirror/view";

const FIELD = "var(--st-secondary-background-color)";
const POPUP = "var(--st-background-color)";
const BORDER = "1px solid var(--st-border-color)";
const FAINT = "var(--st-gray-text-color)";

export const theme = EditorView.theme({
  "&": {
    backgroundColor: FIELD,
    border: "1px solid transparent",
    borderRadius: "var(--st-base-radius)",
    color: "var(--st-text-color)",
    fontSize: "0.9rem",
  },
  "&.cm-focused": { borderColor: "var(--st-primary-color)", outline: "none" },
  ".cm-scroller": { fontFamily: "var(--st-code-font)", lineHeight: "1.6", minHeight: "4.8em", maxHeight: "24em", overflow: "auto" },
  ".cm-content": { caretColor: "var(--st-text-color)", padding: "0.5rem 0.25rem" },
  ".cm-placeholder": { color: FAINT },
  "&.cm-focused .cm-cursor": { borderLeftColor: "var(--st-text-color)" },
  "& .cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--st-primary-color) 30%, transparent)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "color-mix(in srgb, var(--st-primary-color) 25%, transparent)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--st-red-background-color)" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--st-red-color)",
    textUnderlineOffset: "0.2em",
  },
  ".cm-lintPoint-error:after": { borderBottomColor: "var(--st-red-color)" },
  ".cm-tooltip": {
    backgroundColor: POPUP,
    border: BORDER,
    borderRadius: "var(--st-base-radius)",
    boxShadow: "0 4px 16px rgb(0 0 0 / 25%)",
    color: "var(--st-text-color)",
    zIndex: 1000010, // above Streamlit's dialogs
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--st-code-font)", fontSize: "0.85rem", maxHeight: "16em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "0.2rem 0.6rem" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "color-mix(in srgb, var(--st-primary-color) 25%, transparent)",
    color: "var(--st-text-color)",
  },
  ".cm-completionMatchedText": { fontWeight: "700", textDecoration: "none" },
  ".cm-completionDetail": { color: FAINT, float: "right", fontStyle: "normal", marginLeft: "2em" },
  ".cm-tooltip.cm-completionInfo": { fontFamily: "var(--st-font)", fontSize: "0.85rem", maxWidth: "24rem", padding: "0.4rem 0.6rem" },
  ".cm-completionInfo .signature": { fontFamily: "var(--st-code-font)" },
  ".cm-diagnostic": { fontFamily: "var(--st-font)", padding: "0.4rem 0.6rem" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--st-red-color)" },
  ".cm-diagnosticAction": { backgroundColor: "var(--st-primary-color)", color: "white" },
  ".cm-panels": { backgroundColor: POPUP, borderTop: BORDER, color: "var(--st-text-color)" },
  ".cm-panel.cm-panel-lint ul [aria-selected], .cm-panel.cm-panel-lint ul:focus [aria-selected]": {
    backgroundColor: "color-mix(in srgb, var(--st-primary-color) 25%, transparent)",
    color: "var(--st-text-color)",
  },
  ".cm-panel.cm-panel-lint button[name=close]": { color: "var(--st-text-color)" },
});
