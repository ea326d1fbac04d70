// Chapter 6: the four views side by side, values and costs.

import { costs, matrix, multiply, scatter, subKernels, transpose, zeroInsertion } from './maths.js';
import { AXIS, axis, watch } from './state.js';
import { bytes, format, h, parts, thousands } from './ui.js';

export function viewsChapter(root) {
  const part = parts(root);
  watch([...AXIS, 'x', 'w'], () => {
    const { c, x, w } = axis();
    const answers = {
      matrix: multiply(transpose(matrix(w, c)), x),
      scatter: scatter(x, w, c),
      'sub-kernels': subKernels(x, w, c),
      'zero insertion': zeroInsertion(x, w, c),
    };
    const cost = costs(c);
    const most = Math.max(...Object.values(cost).map(({ products }) => products));
    const bar = (share) => h('span', { class: 'bar', style: `--part: ${share}` });
    const number = (text, ...more) => h('td', { class: 'number' }, text, ...more);
    part('views').replaceChildren(...Object.entries(answers).map(([name, y]) => h('tr', {},
      h('th', { scope: 'row' }, name),
      h('td', { class: 'values' }, y.map(format).join('  ')),
      number(thousands(cost[name].products), bar(cost[name].products / most)),
      number(thousands(cost[name].wasted)),
      number(bytes(cost[name].bytes)))));

    const same = (y) => y.every((value, o) => Math.abs(value - answers.scatter[o]) < 1e-9);
    part('agree').textContent = Object.values(answers).every(same) ? 'All four agree.'
      : 'The views differ: please report this setting.';
    const ratio = cost['zero insertion'].products / Math.max(cost['sub-kernels'].products, 1);
    part('squared').textContent = `Zero insertion multiplies ${format(ratio)} times as often as the sub-kernels here. `
      + `In two dimensions with the same setting on both axes that is squared: ${format(ratio ** 2)} times.`;
  });
}
