// Chapter 8: the bilinear filter, its surface and formula, a picture enlarged, and the half pixel.

import { bilinear, outer, range } from './maths.js';
import { state, watch } from './state.js';
import { caption, find, format, picture, plural, s, slider } from './ui.js';

// Enlarge one channel by the aligned layer: kernel 2f - f mod 2, stride f, padding floor(f / 2).
export function enlarge(values, height, width, factor) {
  const line = bilinear(factor);
  const padding = Math.floor(factor / 2);
  // The filter is a product of two lines, so one axis after the other.
  const along = (source, rows, columns) => {
    const result = new Float64Array(rows * columns * factor);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let t = 0; t < line.length; t++) {
          const o = j * factor + t - padding;
          if (o >= 0 && o < columns * factor) result[o * rows + i] += source[i * columns + j] * line[t];
        }
      }
    }
    return result; // turned: columns * factor rows of `rows`
  };
  return along(along(values, height, width), width * factor, height);
}

function surface(line) {
  const n = line.length;
  const w = outer(line);
  const [side, tall] = [300, 120];
  const point = (i, j) => {
    const [u, v] = [(j + 0.5) / n - 0.5, (i + 0.5) / n - 0.5];
    return [side / 2 + (u - v) * side * 0.48, tall + 30 + (u + v) * side * 0.22 - w[i][j] * tall];
  };
  const posts = range(n).flatMap((i) => range(n).map((j) => {
    const [x, y] = point(i, j);
    return s('line', { x1: x, x2: x, y1: y, y2: y + w[i][j] * tall, class: 'post' });
  }));
  // Quadrilaterals from the back to the front hide what lies behind them.
  const tiles = range(n - 1).flatMap((i) => range(n - 1).map((j) => s('polygon', {
    points: [point(i, j), point(i, j + 1), point(i + 1, j + 1), point(i + 1, j)].map((p) => p.map((z) => z.toFixed(1)).join(',')).join(' '),
    class: 'mesh',
  })));
  const dots = range(n).flatMap((i) => range(n).map((j) => {
    const [cx, cy] = point(i, j);
    return s('circle', { cx, cy, r: 3, class: 'dot' });
  }));
  return picture(side, tall + 110, `The bilinear filter of ${n} by ${n} as a tent, ${format(Math.max(...w.flat()))} at its highest.`,
    posts, tiles, n < 8 ? dots : []);
}

// Four inputs as squares of f pixels; where two layers put their outputs.
function ruler(factor) {
  const [n, unit] = [4, 150];
  const width = n * unit;
  const at = (position) => (position + 0.5) * unit; // input position -> place on the page
  const rows = [
    ['aligned: n·f outputs, padding ⌊f/2⌋', range(n * factor).map((o) => (o + 0.5) / factor - 0.5), (o) => (o + 0.5) / factor - 0.5],
    ['the tutorial: (n − 1)·f + 1 outputs, SAME', range((n - 1) * factor + 1).map((o) => tutorialPosition(o, factor)), (o) => o / factor],
  ];
  return picture(width, 190, `Where the outputs lie between ${n} inputs at factor ${factor}: aligned ones tile the inputs, the tutorial's are ${factor % 2 ? 'on their grid' : 'half an output pixel before theirs'}.`,
    range(n).map((i) => [s('rect', { x: i * unit + 1, y: 22, width: unit - 2, height: 34, rx: 4, class: 'tile' }), s('circle', { cx: at(i), cy: 39, r: 5, class: 'source' })]),
    caption(1, 12, 'inputs'),
    rows.map(([name, positions, grid], r) => [
      caption(1, 84 + r * 62, name),
      positions.map((p, o) => [
        s('line', { x1: at(grid(o)), x2: at(grid(o)), y1: 94 + r * 62, y2: 118 + r * 62, class: 'tick' }),
        s('circle', { cx: at(p), cy: 106 + r * 62, r: 4, class: 'dot' })]),
    ]));
}

// TensorFlow's SAME for (n - 1) f + 1 outputs cuts floor((k - 1) / 2) at the beginning.
export function tutorialPosition(o, factor) {
  const kernel = 2 * factor - (factor % 2);
  return (o + Math.floor((kernel - 1) / 2) - (kernel - 1) / 2) / factor;
}

export function bilinearChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  part('controls').append(slider('factor', 'Factor'));
  const photo = find('img', root);

  const paint = async () => {
    await photo.decode();
    const [small, big] = [part('nearest'), part('bilinear')];
    const [W, H] = [photo.naturalWidth, photo.naturalHeight];
    const f = state.factor;
    small.width = W;
    small.height = H;
    const context = small.getContext('2d', { willReadFrequently: true });
    context.drawImage(photo, 0, 0);
    const { data } = context.getImageData(0, 0, W, H);
    const result = new ImageData(W * f, H * f);
    range(3).forEach((channel) => {
      const values = enlarge(range(W * H).map((n) => data[4 * n + channel]), H, W, f);
      values.forEach((value, n) => { result.data[4 * n + channel] = value; });
    });
    range(W * H * f * f).forEach((n) => { result.data[4 * n + 3] = 255; });
    big.width = W * f;
    big.height = H * f;
    big.getContext('2d').putImageData(result, 0, 0);
  };

  watch(['factor'], () => {
    const f = state.factor;
    const line = bilinear(f);
    const k = line.length;
    part('surface').replaceChildren(surface(line));
    part('line').textContent = line.map(format).join('  ');
    for (const [name, value] of Object.entries({ f, k, centre: (k - 1) / 2 })) {
      root.querySelectorAll(`[data-value=${name}]`).forEach((node) => { node.textContent = format(value); });
    }
    part('ruler').replaceChildren(ruler(f));
    const shift = tutorialPosition(0, f) * f;
    part('shift').textContent = shift
      ? `At factor ${f} each output of the tutorial's layer is centred ${format(-shift)} output pixel (${format(-shift / f)} input pixel) before its place on the grid, so the picture moves towards the end by as much. The aligned layer's dots sit on their ticks.`
      : `At factor ${f}, an odd number, the kernel has a middle tap and both layers put their outputs on their ticks.`;
    part('size').textContent = `${plural(k, 'tap')} on each axis`;
    root.dataset.filter = line.join(' ');
    root.dataset.shift = shift;
    paint();
  });
}
