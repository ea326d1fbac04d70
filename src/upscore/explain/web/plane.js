// Chapter 7: two dimensions, played as conv_arithmetic plays it, for any setting; coverage and the
// checkerboard.

import { bilinear, checkerboard, outer, range, scatter2, sum } from './maths.js';
import { state, update, watch } from './state.js';
import { caption, cell, choice, find, format, h, picture, player, s, slider } from './ui.js';

const PLANE = ['side', 'kernel2', 'stride2', 'padding2', 'output2', 'dilation2', 'filter', 'sweep'];

export function plane() {
  const c = { side: state.side, kernel: state.kernel2, stride: state.stride2, padding: state.padding2, extra: state.output2, dilation: state.dilation2 };
  c.span = c.dilation * (c.kernel - 1) + 1;
  c.output = (c.side - 1) * c.stride + c.span - 2 * c.padding + c.extra;
  const line = { ones: () => range(c.kernel).map(() => 1), numbers: () => range(c.kernel).map((t) => 1 + (t % 3)), bilinear: () => bilinear(c.stride) }[state.filter]();
  const x = range(c.side).map((i) => range(c.side).map((j) => (state.filter === 'numbers' ? 1 + ((2 * i + j) % 4) : 1)));
  return { ...c, x, line, w: outer(line) };
}

function grid(values, x, y, size, kind, text = format) {
  return values.map((row, i) => row.map((value, j) =>
    cell(x + j * size, y + i * size, size < 15 ? '' : text(value), kind(i, j, value), size)));
}

function heat(values, title, size) {
  const most = Math.max(...values.flat(), 1e-9);
  const cells = grid(values, 0, 20, size, () => 'heat');
  cells.flat().forEach((g, n) => g.style.setProperty('--part', values.flat()[n] / most));
  const description = `${title}: from ${format(Math.min(...values.flat()))} to ${format(most)}`;
  return picture(Math.max(values.length * size, 190), values.length * size + 22, description, caption(1, 12, title), cells);
}

export function planeChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  part('controls').append(
    h('div', { class: 'controls' },
      slider('side', 'Input side'), slider('kernel2', 'Kernel side'), slider('stride2', 'Stride'),
      slider('padding2', 'Padding'), slider('output2', 'Output padding'), slider('dilation2', 'Dilation')),
    h('div', { class: 'controls' },
      choice('filter', 'Numbers', [['ones', 'all ones'], ['numbers', 'various'], ['bilinear', 'bilinear']]),
      choice('sweep', 'Play by', [['gather', 'outputs (zero insertion)'], ['stamp', 'inputs (scatter)']])));
  const preset = (text, changes) => h('button', { type: 'button', onclick: () => update({ side: 4, output2: 0, dilation2: 1, ...changes }) }, text);
  part('presets').append(
    preset('Kernel 3, stride 2: a checkerboard', { kernel2: 3, stride2: 2, padding2: 0, filter: 'ones' }),
    preset('Kernel 4, stride 2: even', { kernel2: 4, stride2: 2, padding2: 1, filter: 'ones' }),
    preset('Bilinear, stride 2: even and smooth', { stride2: 2, padding2: 1, filter: 'bilinear' }),
    preset('Bilinear, stride 3', { stride2: 3, padding2: 1, filter: 'bilinear' }));

  let frame = () => {};
  const sweep = player('move over the picture', (step) => frame(step), 350);
  part('grids').after(sweep);

  watch(PLANE, () => {
    const c = plane();
    const y = scatter2(c.x, c.w, c);
    const border = c.span - 1 - c.padding;
    const wide = c.output + c.span - 1;
    const flipped = [...c.w].reverse().map((row) => [...row].reverse());
    const gather = state.sweep === 'gather';
    // Which tap of the kernel lies over a place, when the kernel's corner is at `corner`.
    const tap = (place, corner) => {
      const t = (place - corner) / c.dilation;
      return Number.isInteger(t) && t >= 0 && t < c.kernel ? t : -1;
    };
    const size = (n) => Math.min(30, Math.max(13, 380 / n));

    frame = (step) => {
      const done = step - 1;
      const count = gather ? c.output : c.side;
      const [row, column] = done < 0 ? [-99, -99] : [Math.floor(done / count), done % count];
      const [a, b] = [size(gather ? wide : c.side), size(c.output)];
      const finished = step === count * count;
      let left;
      let right;
      if (gather) {
        left = range(wide).map((i) => range(wide).map((j) => {
          const [u, v] = [(i - border) / c.stride, (j - border) / c.stride];
          const under = !finished && tap(i, row) >= 0 && tap(j, column) >= 0;
          const value = c.x[u]?.[v];
          return { value: value ?? 0, kind: `${value === undefined ? 'zero' : 'input'} ${under ? 'lit' : ''}` };
        }));
        right = y.map((line, i) => line.map((value, j) => ({ value, shown: i * c.output + j <= done, lit: !finished && i === row && j === column })));
      } else {
        left = c.x.map((line, i) => line.map((value, j) => ({ value, kind: `input ${!finished && i === row && j === column ? 'lit' : ''}` })));
        const so_far = c.x.map((line, i) => line.map((value, j) => (i * c.side + j <= done ? value : 0)));
        const partial = scatter2(so_far, c.w, c);
        const corner = (n) => n * c.stride - c.padding;
        right = partial.map((line, i) => line.map((value, j) => ({ value, shown: done >= 0, lit: !finished && tap(i, corner(row)) >= 0 && tap(j, corner(column)) >= 0 })));
      }
      const k = Math.min(26, 130 / c.kernel);
      const [x1, x2] = [left.length * a + 34, left.length * a + 34 + c.kernel * k + 34];
      const draw = (cells, x, unit, kind, text) => cells.map((line, i) => line.map((it, j) =>
        cell(x + j * unit, 22 + i * unit, unit < 15 ? '' : text(it), kind(it), unit)));
      part('grids').replaceChildren(picture(x2 + c.output * b, 26 + Math.max(left.length * a, c.output * b, c.kernel * k),
        `${gather ? 'The input with zeros between and around it, the flipped kernel' : 'The input, the kernel'} and the output of ${c.output} by ${c.output}${finished ? ', complete' : `, at step ${step}`}.`,
        caption(1, 12, gather ? `input ${c.side}×${c.side} in zeros` : `input ${c.side}×${c.side}`),
        draw(left, 0, a, (it) => it.kind, (it) => format(it.value)),
        caption(x1, 12, gather ? 'flipped kernel' : 'kernel'),
        grid(gather ? flipped : c.w, x1, 22, k, () => 'weight', (value) => (k < 22 ? '' : format(Math.round(value * 100) / 100))),
        caption(x2, 12, `output ${c.output}×${c.output}`),
        draw(right, x2, b, (it) => `output ${it.lit ? 'lit' : ''} ${it.shown ? '' : 'empty'}`, (it) => (it.shown ? format(Math.round(it.value * 100) / 100) : ''))));
      root.dataset.shown = step;
    };
    sweep.restart(gather ? c.output ** 2 : c.side ** 2);

    const ones = range(c.side).map(() => range(c.side).map(() => 1));
    const counts = scatter2(ones, outer(range(c.kernel).map(() => 1)), c);
    const weights = scatter2(ones, c.w, c);
    const uneven = checkerboard(c.line, c.stride, c.dilation);
    const places = c.kernel ** 2 * c.output ** 2;
    part('coverage').replaceChildren(
      heat(counts, 'products per output', size(c.output)),
      heat(weights.map((line) => line.map((value) => Math.round(value * 100) / 100)), 'what an input of ones becomes', size(c.output)));
    part('verdict').textContent = uneven < 1e-9
      ? 'Checkerboard number 0: away from the rim every output receives the same weight.'
      : `Checkerboard number ${format(uneven)}: outputs of different phases receive different weight, and the pattern shows.`;
    part('cost').textContent = `Zero insertion: ${places.toLocaleString('en-GB')} multiplications, ${(places - sum(counts.flat())).toLocaleString('en-GB')} of them with a zero.`;
    root.dataset.plane = y.flat().join(' ');
    root.dataset.counts = counts.flat().join(' ');
    root.dataset.checkerboard = uneven;
  });
}
