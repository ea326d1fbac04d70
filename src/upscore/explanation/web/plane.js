// Chapter 7: two dimensions, played as conv_arithmetic plays it, for any setting; coverage and the
// checkerboard.

import { bilinear, checkerboard, outer, range, scatter2, sum } from './maths.js';
import { state, update, watch } from './state.js';
import { caption, cell, choice, format, h, parts, picture, player, slider, thousands } from './ui.js';

const PLANE = ['side', 'kernel2', 'stride2', 'padding2', 'output2', 'dilation2', 'filter', 'sweep'];
const PRESETS = {
  'Kernel 3, stride 2: a checkerboard': { kernel2: 3, stride2: 2, padding2: 0, filter: 'ones' },
  'Kernel 4, stride 2: even': { kernel2: 4, stride2: 2, padding2: 1, filter: 'ones' },
  'Bilinear, stride 2: even and smooth': { stride2: 2, padding2: 1, filter: 'bilinear' },
  'Bilinear, stride 3': { stride2: 3, padding2: 1, filter: 'bilinear' },
};

const square = (n, value) => range(n).map((i) => range(n).map((j) => value(i, j)));
const short = (value) => format(Math.round(value * 100) / 100);
const fitting = (n) => Math.min(30, Math.max(13, 380 / n)); // a cell's size in a grid of n × n

// The reader's setting: its numbers, the input x, one line of the kernel, and the kernel w.
function plane() {
  const c = {
    side: state.side, kernel: state.kernel2, stride: state.stride2, padding: state.padding2,
    dilation: state.dilation2,
  };
  c.span = c.dilation * (c.kernel - 1) + 1;
  c.output = (c.side - 1) * c.stride + c.span - 2 * c.padding + state.output2;
  const various = state.filter === 'numbers';
  const flat = range(c.kernel).map((t) => (various ? 1 + (t % 3) : 1));
  const line = state.filter === 'bilinear' ? bilinear(c.stride) : flat;
  return { ...c, line, w: outer(line), x: square(c.side, (i, j) => (various ? 1 + ((2 * i + j) % 4) : 1)) };
}

// A grid of cells; each is {value, kind}, and has no number where there is no room for one.
function grid(cells, x, y, size, least = 15) {
  return cells.map((row, i) => row.map(({ value, kind }, j) =>
    cell(x + j * size, y + i * size, size < least || value === undefined ? '' : short(value), kind, size)));
}

function heat(values, title) {
  const size = fitting(values.length);
  const flat = values.flat();
  const most = Math.max(...flat, 1e-9);
  const cells = grid(values.map((row) => row.map((value) => ({ value, kind: 'heat' }))), 0, 20, size);
  cells.flat().forEach((g, n) => g.style.setProperty('--part', flat[n] / most));
  return picture(Math.max(values.length * size, 190), values.length * size + 22,
    `${title}: from ${short(Math.min(...flat))} to ${short(most)}`, caption(1, 12, title), cells);
}

// Which tap lies over a place when the kernel's first tap lies at `corner`; -1 for none.
function tap(place, corner, c) {
  const t = (place - corner) / c.dilation;
  return Number.isInteger(t) && t >= 0 && t < c.kernel ? t : -1;
}

// By outputs: the flipped kernel slides over the input in its field of zeros.
function gather(c, y, done, [row, column]) {
  const border = c.span - 1 - c.padding;
  const field = square(c.output + c.span - 1, (i, j) => {
    const value = c.x[(i - border) / c.stride]?.[(j - border) / c.stride];
    const lit = tap(i, row, c) >= 0 && tap(j, column, c) >= 0 ? 'lit' : '';
    return { value: value ?? 0, kind: `${value === undefined ? 'zero' : 'input'} ${lit}` };
  });
  const shown = square(c.output, (i, j) => (i * c.output + j <= done
    ? { value: y[i][j], kind: `output ${i === row && j === column ? 'lit' : ''}` } : { kind: 'output empty' }));
  return [field, shown];
}

// By inputs: each stamps its multiple of the kernel on the output.
function stamp(c, done, [row, column]) {
  const so_far = square(c.side, (i, j) => (i * c.side + j <= done ? c.x[i][j] : 0));
  const corner = (n) => n * c.stride - c.padding;
  const inputs = square(c.side, (i, j) => (
    { value: c.x[i][j], kind: `input ${i === row && j === column ? 'lit' : ''}` }));
  const shown = scatter2(so_far, c.w, c).map((line, i) => line.map((value, j) => {
    const lit = tap(i, corner(row), c) >= 0 && tap(j, corner(column), c) >= 0 ? 'lit' : '';
    return { value, kind: `output ${lit}` };
  }));
  return [inputs, shown];
}

export function planeChapter(root) {
  const part = parts(root);
  part('controls').append(
    h('div', { class: 'controls' },
      slider('side', 'Input side'), slider('kernel2', 'Kernel side'), slider('stride2', 'Stride'),
      slider('padding2', 'Padding'), slider('output2', 'Output padding'), slider('dilation2', 'Dilation')),
    h('div', { class: 'controls' },
      choice('filter', 'Numbers', [['ones', 'all ones'], ['numbers', 'various'], ['bilinear', 'bilinear']]),
      choice('sweep', 'Play by', [['gather', 'outputs (zero insertion)'], ['stamp', 'inputs (scatter)']])));
  part('presets').append(...Object.entries(PRESETS).map(([text, changes]) => h('button',
    { type: 'button', onclick: () => update({ side: 4, output2: 0, dilation2: 1, ...changes }) }, text)));

  let frame;
  const sweep = player('move over the picture', (step) => frame(step), 350);
  part('grids').after(sweep);

  watch(PLANE, () => {
    const c = plane();
    const y = scatter2(c.x, c.w, c);
    const byOutput = state.sweep === 'gather';
    const count = byOutput ? c.output : c.side;
    const kernel = byOutput ? [...c.w].reverse().map((row) => [...row].reverse()) : c.w;
    const small = Math.min(26, 130 / c.kernel);

    frame = (step) => {
      const done = step - 1;
      const moving = step > 0 && step < count * count;
      const place = moving ? [Math.floor(done / count), done % count] : [NaN, NaN];
      const [inputs, outputs] = byOutput ? gather(c, y, done, place) : stamp(c, done, place);
      const [a, b] = [fitting(inputs.length), fitting(c.output)];
      const second = inputs.length * a + 34;
      const third = second + c.kernel * small + 34;
      const tall = Math.max(inputs.length * a, c.output * b, c.kernel * small);
      part('grids').replaceChildren(picture(third + Math.max(c.output * b, 80), 26 + tall,
        `${byOutput ? 'The input in its field of zeros, the flipped kernel' : 'The input, the kernel'} `
        + `and the output of ${c.output} by ${c.output}, ${moving ? `at step ${step}` : step ? 'complete' : 'still empty'}.`,
        caption(1, 12, `input ${c.side}×${c.side}${byOutput ? ' in zeros' : ''}`),
        caption(second, 12, byOutput ? 'flipped kernel' : 'kernel'),
        caption(third, 12, `output ${c.output}×${c.output}`),
        grid(inputs, 0, 22, a),
        grid(kernel.map((row) => row.map((value) => ({ value, kind: 'weight' }))), second, 22, small, 22),
        grid(outputs, third, 22, b)));
    };
    sweep.restart(count * count);

    const ones = square(c.side, () => 1);
    const counts = scatter2(ones, square(c.kernel, () => 1), c);
    part('coverage').replaceChildren(
      heat(counts, 'products per output'), heat(scatter2(ones, c.w, c), 'what an input of ones becomes'));
    const uneven = checkerboard(c.line, c.stride, c.dilation);
    part('verdict').textContent = uneven < 1e-9
      ? 'Checkerboard number 0: away from the rim every output receives the same weight.'
      : `Checkerboard number ${format(uneven)}: outputs of different phases receive different weight, and it shows.`;
    const products = c.kernel ** 2 * c.output ** 2;
    part('cost').textContent = `Zero insertion: ${thousands(products)} multiplications, `
      + `${thousands(products - sum(counts.flat()))} of them with a zero.`;
    root.dataset.plane = y.flat().join(' ');
    root.dataset.counts = counts.flat().join(' ');
    root.dataset.checkerboard = uneven;
  });
}
