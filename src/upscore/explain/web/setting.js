// The bar above chapters 2 to 6: one setting of one axis, and its numbers.

import { dropped, shorter, span } from './maths.js';
import { AXIS, axis, state, watch } from './state.js';
import { find, h, numbers, plural, slider } from './ui.js';

export function settingBar(root) {
  const summary = h('summary');
  const reset = h('a', { href: '#convolution', class: 'reset' }, 'Back to the first setting');
  const bar = h('details', { class: 'setting' }, summary,
    h('div', { class: 'controls' },
      slider('length', 'Length'), slider('kernel', 'Kernel'), slider('stride', 'Stride'),
      slider('padding', 'Padding'), slider('dilation', 'Dilation')),
    h('div', { class: 'controls' },
      numbers('w', 'Kernel', () => state.kernel),
      numbers('x', 'Short signal', () => shorter(axis())), reset));
  bar.open = matchMedia('(min-width: 60rem)').matches;
  watch(AXIS, () => {
    const c = axis();
    find('input[aria-label=Padding]', bar).max = span(c) - 1;
    const extra = dropped(c) ? `, output padding ${dropped(c)}` : '';
    summary.replaceChildren(
      h('strong', {}, 'Your setting '),
      `length ${c.length}, kernel ${c.kernel}, stride ${c.stride}, padding ${c.padding}, dilation ${c.dilation}${extra}: `,
      h('span', { 'data-result': 'sizes' }, `${plural(c.length, 'value')} ⇄ ${shorter(c)}`));
  });
  root.prepend(bar);
}
