// The API counts characters as Python does, by code points; the editor counts as JavaScript does, by UTF-16 units. They
// differ behind an emoji.

/** The UTF-16 position of a position in code points. */
export function fromPoints(text, points) {
  let at = 0;
  for (let left = points; left > 0 && at < text.length; left--) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return at;
}

/** The position in code points of a UTF-16 position. */
export function toPoints(text, at) {
  let points = 0;
  for (let i = 0; i < at; points++) i += text.codePointAt(i) > 0xffff ? 2 : 1;
  return points;
}
