// Chapter 8: the bilinear filter, its surface and formula, a picture enlarged, and the half pixel.

import { bilinear, outer, range } from './maths.js';
import { state, watch } from './state.js';
import { caption, find, format, parts, picture, plural, s, slider } from './ui.js';

// Enlarge one channel by the aligned layer: kernel 2f - f mod 2, stride f, padding floor(f / 2).
// The filter is a product of two lines, so one axis after the other.
function enlarge(values, height, width, factor) {
  const line = bilinear(factor);
  const padding = Math.floor(factor / 2);
  // Enlarges the rows and answers the picture turned: columns * factor rows of `rows`.
  const along = (picked, rows, columns) => {
    const result = new Float64Array(rows * columns * factor);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let t = 0; t < line.length; t++) {
          const o = j * factor + t - padding;
          if (o >= 0 && o < columns * factor) result[o * rows + i] += picked[i * columns + j] * line[t];
        }
      }
    }
    return result;
  };
  return along(along(values, height, width), width * factor, height);
}

// Paint the photo on one canvas, and enlarged by the layer on another.
async function paint(photo, plain, enlarged) {
  await photo.decode();
  const [W, H, f] = [photo.naturalWidth, photo.naturalHeight, state.factor];
  const context = plain.getContext('2d', { willReadFrequently: true });
  [plain.width, plain.height, enlarged.width, enlarged.height] = [W, H, W * f, H * f];
  context.drawImage(photo, 0, 0);
  const { data } = context.getImageData(0, 0, W, H);
  const result = new ImageData(W * f, H * f);
  result.data.fill(255);
  for (const channel of range(3)) {
    const values = enlarge(range(W * H).map((n) => data[4 * n + channel]), H, W, f);
    values.forEach((value, n) => { result.data[4 * n + channel] = value; });
  }
  enlarged.getContext('2d').putImageData(result, 0, 0);
}

// The filter as a tent seen from a corner.
function surface(line) {
  const n = line.length;
  const w = outer(line);
  const [side, tall] = [300, 120];
  const point = (i, j) => {
    const [u, v] = [(j + 0.5) / n - 0.5, (i + 0.5) / n - 0.5];
    return [side / 2 + (u - v) * side * 0.48, tall + 30 + (u + v) * side * 0.22 - w[i][j] * tall];
  };
  const every = (count, draw) => range(count).map((i) => range(count).map((j) => draw(i, j)));
  return picture(side, tall + 110,
    `The bilinear filter of ${n} by ${n} as a tent, ${format(Math.max(...w.flat()))} at its highest.`,
    every(n, (i, j) => {
      const [x, y] = point(i, j);
      return s('line', { x1: x, x2: x, y1: y, y2: y + w[i][j] * tall, class: 'post' });
    }),
    // From the back to the front, so that near ones hide far ones.
    every(n - 1, (i, j) => s('polygon', {
      points: [point(i, j), point(i, j + 1), point(i + 1, j + 1), point(i + 1, j)].join(' '), class: 'mesh',
    })),
    n < 8 ? every(n, (i, j) => s('circle', { cx: point(i, j)[0], cy: point(i, j)[1], r: 3, class: 'dot' })) : []);
}

// Where the tutorial's layer centres its output o, in input pixels: TensorFlow's SAME for
// (n - 1) f + 1 outputs cuts floor((k - 1) / 2) at the beginning.
function tutorialPosition(o, factor) {
  const kernel = 2 * factor - (factor % 2);
  return (o + Math.floor((kernel - 1) / 2) - (kernel - 1) / 2) / factor;
}

// Four inputs, and where two layers put their outputs between them.
function ruler(factor) {
  const [n, unit] = [4, 150];
  const at = (position) => (position + 0.5) * unit; // input position -> place on the page
  const aligned = (o) => (o + 0.5) / factor - 0.5;
  const rows = [
    ['aligned: n·f outputs, padding ⌊f/2⌋', n * factor, aligned, aligned],
    ['the tutorial: (n − 1)·f + 1 outputs, SAME', (n - 1) * factor + 1,
      (o) => o / factor, (o) => tutorialPosition(o, factor)],
  ];
  const where = factor % 2 ? 'on their grid' : 'half an output pixel before theirs';
  return picture(n * unit, 190,
    `Outputs between ${n} inputs at factor ${factor}: aligned ones tile the inputs, the tutorial’s are ${where}.`,
    caption(1, 12, 'inputs'),
    range(n).map((i) => [
      s('rect', { x: i * unit + 1, y: 22, width: unit - 2, height: 34, rx: 4, class: 'tile' }),
      s('circle', { cx: at(i), cy: 39, r: 5, class: 'source' })]),
    rows.map(([name, count, ought, is], r) => [
      caption(1, 84 + r * 62, name),
      range(count).map((o) => [
        s('line', { x1: at(ought(o)), x2: at(ought(o)), y1: 94 + r * 62, y2: 118 + r * 62, class: 'tick' }),
        s('circle', { cx: at(is(o)), cy: 106 + r * 62, r: 4, class: 'dot' })])]));
}

export function bilinearChapter(root) {
  const part = parts(root);
  part('controls').append(slider('factor', 'Factor'));

  watch(['factor'], () => {
    const f = state.factor;
    const line = bilinear(f);
    const k = line.length;
    part('surface').replaceChildren(surface(line));
    part('size').textContent = `${plural(k, 'tap')} on each axis`;
    part('line').textContent = line.map(format).join('  ');
    for (const [name, value] of Object.entries({ f, k, centre: (k - 1) / 2 })) {
      root.querySelectorAll(`[data-value=${name}]`).forEach((node) => { node.textContent = format(value); });
    }
    part('ruler').replaceChildren(ruler(f));
    const before = -tutorialPosition(0, f);
    part('shift').textContent = before
      ? `At factor ${f} each output of the tutorial’s layer is centred ${format(before * f)} output pixel `
        + `(${format(before)} input pixel) before its place on the grid, so the picture moves towards the end by as `
        + 'much. The aligned layer’s dots sit on their ticks.'
      : `At factor ${f}, an odd number, the kernel has a middle tap, and both layers’ dots sit on their ticks.`;
    root.dataset.filter = line.join(' ');
    root.dataset.shift = before * f;
    paint(find('img', root), part('nearest'), part('bilinear'));
  });
}
