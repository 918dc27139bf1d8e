// COCO's run lengths as small bitmaps, and bitmaps as a coloured layer.

// The counts of a compressed run length string (pycocotools' own coding: 5 bits a character, the third value on as a difference).
function counts(text) {
  const found = [];
  for (let at = 0; at < text.length; ) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      shift += 5;
      if (!more && code & 16) value |= -1 << shift;
    }
    if (found.length > 2) value += found[found.length - 2];
    found.push(value);
  }
  return found;
}

// Which pixels of the smaller picture have their centre in the pixels from .. to - 1 of the large one.
const first = (from, scale) => Math.max(0, Math.ceil(from * scale - 0.5));

// { left, top, width, height, bits }: the mask within its box, in pixels of the picture at that scale (at most 1).
export function decodeMask(rle, scale) {
  const [height] = rle.size, runs = counts(rle.counts), columns = [];
  let left = Infinity, right = 0, top = Infinity, bottom = 0, position = 0;
  runs.forEach((length, index) => {
    let start = position;
    position += length;
    if (index % 2 === 0) return;
    while (start < position) {
      const x = Math.floor(start / height), end = Math.min(position, (x + 1) * height);
      const a = first(x, scale), b = first(x + 1, scale);
      const c = first(start - x * height, scale), d = first(end - x * height, scale);
      if (a < b && c < d) {
        columns.push(a, b, c, d);
        left = Math.min(left, a); right = Math.max(right, b);
        top = Math.min(top, c); bottom = Math.max(bottom, d);
      }
      start = end;
    }
  });
  if (right === 0) return { left: 0, top: 0, width: 0, height: 0, bits: new Uint8Array(0) };
  const width = right - left, bits = new Uint8Array(width * (bottom - top));
  for (let i = 0; i < columns.length; i += 4)
    for (let y = columns[i + 2]; y < columns[i + 3]; y++)
      bits.fill(1, (y - top) * width + columns[i] - left, (y - top) * width + columns[i + 1] - left);
  return { left, top, width, height: bottom - top, bits };
}

// The smallest object at a place of the picture, or null.
export function hits(objects, [x, y], scale) {
  let found = null;
  for (const object of objects) {
    const { left, top, width, height, bits } = object.mask;
    const column = Math.floor(x * scale) - left, row = Math.floor(y * scale) - top;
    if (column < 0 || row < 0 || column >= width || row >= height || !bits[row * width + column]) continue;
    if (found === null || object.area < found.area) found = object;
  }
  return found;
}

// Fills the canvas with the objects: the best on top, outlines opaque, the others pale while one is hot.
export function paint(canvas, objects, opacity, hot, width, height) {
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, canvas.height);
  const colours = new Uint32Array(image.data.buffer), thick = Math.max(1, Math.round(Math.max(width, height) / 500));
  const order = [...objects].sort((a, b) => (a === hot) - (b === hot) || a.score - b.score);
  for (const object of order) {
    const { left, top, width: w, height: h, bits } = object.mask, pale = hot !== null && object !== hot ? 0.35 : 1;
    const strong = object === hot ? Math.min(1, opacity + 0.25) : opacity;
    const fill = packed(object.colour, 255 * strong * pale), edge = packed(object.colour, 255 * pale);
    for (let y = 0; y < h; y++) {
      let index = y * w, target = (top + y) * canvas.width + left;
      for (let x = 0; x < w; x++, index++, target++) {
        if (!bits[index]) continue;
        const inner = x >= thick && y >= thick && x < w - thick && y < h - thick &&
          bits[index - thick] && bits[index + thick] && bits[index - thick * w] && bits[index + thick * w];
        colours[target] = inner ? fill : edge;
      }
    }
  }
  pen.putImageData(image, 0, 0);
}

// Of a hue, as little-endian RGBA.
function packed(hue, alpha) {
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (0.52 - 0.85 * 0.48 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return ((Math.round(alpha) << 24) | (part(4) << 16) | (part(8) << 8) | part(0)) >>> 0;
}
