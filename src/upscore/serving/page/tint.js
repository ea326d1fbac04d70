// Colours over a photo: for the pixels that are seen alone, so that the cost is that of the screen and
// not that of the photo.

const MOST = 2.5e6; // pixels that are coloured at a time; beyond, two by two share one

const pack = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
export const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

// How each class is drawn, as packed colours by id. A black class, as background is in most palettes,
// leaves the photo as it is; with one class alone the others lie under a veil.
export function classTints(classes, { opacity, alone, ground }) {
  const line = pack(255, 255, 255, Math.round(255 * Math.min(1, opacity / 40)));
  const tints = new Uint32Array(256);
  const alpha = Math.round(2.55 * opacity);
  const veil = pack(...rgb(ground), 215);
  if (alone) tints.fill(veil);
  for (const { id, name, color } of classes) {
    const [red, green, blue] = rgb(color);
    if (alone && name !== alone) tints[id] = veil;
    else tints[id] = red || green || blue ? pack(red, green, blue, alpha) : 0;
  }
  return { tints, line };
}

// From sure to unsure: nothing, amber, red.
export function confidenceTints(opacity) {
  return Uint32Array.from({ length: 256 }, (_, percent) => {
    const doubt = Math.min(1, Math.max(0, (100 - percent) / 60));
    const alpha = Math.round(255 * Math.min(1, opacity / 50) * Math.min(1, doubt * 1.6) * 0.9);
    return pack(255, Math.round(190 * (1 - doubt)), Math.round(40 * (1 - doubt)), alpha);
  });
}

// The places of a photo that a part of it shows: `part` has a size in pixels, the place of its corner,
// and how many of the photo's pixels one of its own spans. Sets the canvas to that size, or less.
function sheet(canvas, photo, part) {
  const each = Math.ceil(Math.sqrt((part.width * part.height) / MOST));
  canvas.width = Math.max(1, Math.ceil(part.width / each));
  canvas.height = Math.max(1, Math.ceil(part.height / each));
  const places = (count, first, most) => Int32Array.from({ length: count }, (_, i) => {
    const place = Math.floor(first + (i + 0.5) * each * part.pixel);
    return place < 0 || place >= most ? -1 : place;
  });
  return {
    xs: places(canvas.width, part.left, photo.width),
    ys: places(canvas.height + 1, part.top - each * part.pixel, photo.height), // and the row above
  };
}

// Tint the classes and draw a line between them. Returns the canvas, to be drawn over the photo.
export function tintLabels(canvas, labels, photo, { tints, line }, part) {
  const { xs, ys } = sheet(canvas, photo, part);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const picture = context.createImageData(canvas.width, canvas.height);
  const out = new Uint32Array(picture.data.buffer);
  let above = new Int16Array(xs.length).fill(-1);
  let here = new Int16Array(xs.length);
  for (let row = 0; row < ys.length; row += 1) {
    const start = ys[row] * photo.width; // negative beyond the photo
    const at = (row - 1) * xs.length; // the first row is only there to be compared with
    let left = -1;
    for (let i = 0; i < xs.length; i += 1) {
      const id = start < 0 || xs[i] < 0 ? -1 : labels[start + xs[i]];
      here[i] = id;
      if (id >= 0 && row > 0) {
        const edge = line && ((left >= 0 && left !== id) || (above[i] >= 0 && above[i] !== id));
        out[at + i] = edge ? line : tints[id];
      }
      left = id;
    }
    [above, here] = [here, above];
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

// Colour a grey picture of per cents.
export function tintConfidence(canvas, image, photo, tints, part) {
  sheet(canvas, photo, part);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const scale = canvas.width / part.width / part.pixel;
  context.imageSmoothingEnabled = false; // per cents are numbers, not colours to be mixed
  context.setTransform(scale, 0, 0, scale, -part.left * scale, -part.top * scale);
  context.drawImage(image, 0, 0);
  const picture = context.getImageData(0, 0, canvas.width, canvas.height);
  const out = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < out.length; i += 1) out[i] = out[i] && tints[out[i] & 255]; // 0 is outside
  context.putImageData(picture, 0, 0);
  return canvas;
}
