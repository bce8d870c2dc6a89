// The component that Streamlit mounts: one editor for each place on a page, which outlives the reruns of the page.

import { ExpressionEditor } from "./editor.js";

/** @type {WeakMap<object, {editor: ExpressionEditor, mounts: number}>} */
const mounted = new WeakMap();

/**
 * Mounts an editor at the first call for a place, and updates it at each later one.
 *
 * Streamlit calls again for every rerun whose data differ, and calls the cleanup of a call that it gave up meanwhile. So
 * a cleanup ends the editor only if no later call took it over.
 */
export default function mount({ parentElement, data, setStateValue, setTriggerValue }) {
  const python = {
    send: (draft) => setStateValue("draft", draft),
    save: (text) => setTriggerValue("save", text),
  };
  let place = mounted.get(parentElement);
  if (place) {
    place.editor.update(data, python);
  } else {
    place = { editor: new ExpressionEditor(parentElement, data, python), mounts: 0 };
    mounted.set(parentElement, place);
  }
  const number = ++place.mounts;
  return () => {
    if (place.mounts === number && mounted.get(parentElement) === place) {
      place.editor.end();
      mounted.delete(parentElement);
    }
  };
}
