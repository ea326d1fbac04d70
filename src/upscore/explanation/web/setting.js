// The bar above chapters 2 to 6: one setting of one axis, and its numbers.

import { dropped, span } from './maths.js';
import { AXIS, axis, state, watch } from './state.js';
import { h, numbers, plural, slider } from './ui.js';

export function settingBar(root) {
  const summary = h('summary');
  const bar = h('details', { class: 'setting' }, summary,
    h('div', { class: 'controls' },
      slider('length', 'Length'), slider('kernel', 'Kernel'), slider('stride', 'Stride'),
      slider('padding', 'Padding', () => span(axis().c) - 1),
      slider('dilation', 'Dilation')),
    h('div', { class: 'controls' },
      numbers('w', 'Kernel', () => state.kernel),
      numbers('x', 'Short signal', () => axis().x.length),
      h('a', { href: '#convolution', class: 'reset' }, 'Back to the first setting')));
  bar.open = matchMedia('(min-width: 60rem)').matches;
  watch(AXIS, () => {
    const { c, x } = axis();
    const said = AXIS.map((name) => `${name} ${c[name]}`);
    if (dropped(c)) said.push(`output padding ${dropped(c)}`);
    summary.replaceChildren(h('strong', {}, 'Your setting '),
      `${said.join(', ')}: ${plural(c.length, 'value')} ⇄ ${x.length}`);
  });
  root.prepend(bar);
}
