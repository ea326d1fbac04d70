// The numbers on the page: transposed convolution in four views, sizes, filters, sampling.
// One axis is a setting c = {length, kernel, stride, padding, dilation}: the convolution takes
// `length` values to `shorter(c)` of them, and its transpose takes those back to `length`.

export const range = (n) => Array.from({ length: Math.max(n, 0) }, (_, i) => i);
export const sum = (values) => values.reduce((a, b) => a + b, 0);
const zeros = (n) => new Array(Math.max(n, 0)).fill(0);
const modulo = (a, b) => ((a % b) + b) % b;

export const span = (c) => c.dilation * (c.kernel - 1) + 1;
export const shorter = (c) => Math.floor((c.length + 2 * c.padding - span(c)) / c.stride) + 1;
// What the floor above dropped; PyTorch calls it output_padding.
export const dropped = (c) => (c.length + 2 * c.padding - span(c)) % c.stride;

// Every product that is really needed: short value i, tap t, long value o.
export function links(c) {
  return range(shorter(c))
    .flatMap((i) => range(c.kernel).map((t) => ({ i, t, o: i * c.stride + t * c.dilation - c.padding })))
    .filter(({ o }) => o >= 0 && o < c.length);
}

export function convolution(v, w, c) {
  const y = zeros(shorter(c));
  for (const { i, t, o } of links(c)) y[i] += w[t] * v[o];
  return y;
}

// View 1: row i of the convolution's matrix holds the kernel, moved by i strides.
export function matrix(w, c) {
  const rows = range(shorter(c)).map(() => zeros(c.length));
  for (const { i, t, o } of links(c)) rows[i][o] = w[t];
  return rows;
}

export const transpose = (rows) => rows[0].map((_, column) => rows.map((row) => row[column]));
export const multiply = (rows, v) => rows.map((row) => sum(row.map((a, j) => a * v[j])));

// View 2: each input adds its multiple of the kernel to the output.
export function scatter(x, w, c) {
  const full = zeros((x.length - 1) * c.stride + span(c) + dropped(c));
  x.forEach((value, i) => w.forEach((weight, t) => { full[i * c.stride + t * c.dilation] += value * weight; }));
  return full.slice(c.padding, c.padding + c.length);
}

// View 3: the outputs of one phase (o mod stride) all use the same few taps, and no zeros.
export function phases(c) {
  return range(c.stride).map((r) => ({
    taps: range(c.kernel).filter((t) => modulo(r + c.padding - t * c.dilation, c.stride) === 0),
    outputs: range(c.length).filter((o) => o % c.stride === r),
  }));
}

export const source = (o, t, c) => (o + c.padding - t * c.dilation) / c.stride;

export function subKernels(x, w, c) {
  const y = zeros(c.length);
  for (const { taps, outputs } of phases(c)) {
    for (const o of outputs) y[o] = sum(taps.map((t) => (x[source(o, t, c)] ?? 0) * w[t]));
  }
  return y;
}

// View 4: zeros between and around the inputs, then an ordinary convolution of stride 1.
export function stuffed(x, c) {
  const border = span(c) - 1 - c.padding;
  const row = zeros(c.length + span(c) - 1);
  x.forEach((value, i) => { row[border + i * c.stride] = value; });
  return row;
}

export function zeroInsertion(x, w, c) {
  const row = stuffed(x, c);
  const flipped = [...w].reverse();
  return range(c.length).map((o) => sum(flipped.map((weight, t) => weight * row[o + t * c.dilation])));
}

// Multiplications, how many of them with an inserted or structural zero, and bytes read or written
// when every float32 array is touched once (scatter reads and writes an output for each product).
export function costs(c) {
  const [m, L, k, useful] = [shorter(c), c.length, c.kernel, links(c).length];
  const row = L + span(c) - 1;
  const entry = (products, floats) => ({ products, wasted: products - useful, bytes: 4 * floats });
  return {
    matrix: entry(m * L, m * L + m + L),
    scatter: entry(useful, m + k + 2 * useful),
    'sub-kernels': entry(useful, c.stride * m + k + L),
    'zero insertion': entry(L * k, m + 2 * row + k + L),
  };
}

// Two axes: the same setting on both, arrays of rows.
export function scatter2(x, w, { stride, padding, dilation, output }) {
  const y = range(output).map(() => zeros(output));
  x.forEach((line, i) => line.forEach((value, j) => w.forEach((taps, a) => taps.forEach((weight, b) => {
    const row = i * stride + a * dilation - padding;
    const column = j * stride + b * dilation - padding;
    if (row >= 0 && row < output && column >= 0 && column < output) y[row][column] += value * weight;
  }))));
  return y;
}

export const outer = (a, b = a) => a.map((p) => b.map((q) => p * q));

export function bilinear(factor) {
  const size = 2 * factor - (factor % 2);
  return range(size).map((t) => 1 - Math.abs(t - (size - 1) / 2) / factor);
}

// How unevenly the phases of a square kernel, the product of two lines w, are served:
// (most - least) / most of the weight they receive in the interior; 0 means no checkerboard.
export function checkerboard(w, stride, dilation = 1) {
  const shares = range(stride).map((r) => sum(w.filter((_, t) => (t * dilation) % stride === r)));
  const both = outer(shares).flat();
  return (Math.max(...both) - Math.min(...both)) / Math.max(...both);
}
