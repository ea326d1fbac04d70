// Chapter 6: the four views side by side, values and costs.

import { costs, matrix, multiply, scatter, shorter, subKernels, transpose, zeroInsertion } from './maths.js';
import { AXIS, axis, state, watch } from './state.js';
import { bytes, find, format, h, thousands } from './ui.js';

export function viewsChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  watch([...AXIS, 'x', 'w'], () => {
    const c = axis();
    const [x, w] = [state.x.slice(0, shorter(c)), state.w.slice(0, c.kernel)];
    const answers = {
      matrix: multiply(transpose(matrix(w, c)), x),
      scatter: scatter(x, w, c),
      'sub-kernels': subKernels(x, w, c),
      'zero insertion': zeroInsertion(x, w, c),
    };
    const cost = costs(c);
    const most = Math.max(...Object.values(cost).map(({ products }) => products));
    part('views').replaceChildren(...Object.entries(answers).map(([name, y]) => h('tr', {},
      h('th', { scope: 'row' }, name),
      h('td', { 'data-view': name, class: 'values' }, y.map(format).join('  ')),
      h('td', { class: 'number' }, thousands(cost[name].products),
        h('span', { class: 'bar', style: `--part: ${cost[name].products / most}` })),
      h('td', { class: 'number' }, thousands(cost[name].wasted)),
      h('td', { class: 'number' }, bytes(cost[name].bytes)))));
    const reference = answers.scatter;
    const agree = Object.values(answers).every((y) => y.every((value, o) => Math.abs(value - reference[o]) < 1e-9));
    part('agree').textContent = agree ? 'All four agree.' : 'The views differ: please report this setting.';
    const ratio = cost['zero insertion'].products / Math.max(cost['sub-kernels'].products, 1);
    part('squared').textContent = `Zero insertion multiplies ${format(ratio)} times as often as the sub-kernels here. In two dimensions with the same setting on both axes that is squared: ${format(ratio ** 2)} times.`;
  });
}
