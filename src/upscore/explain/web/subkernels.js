// Chapter 4: outputs coloured by phase, the small kernel of each phase, and the stitching.

import { phases, shorter, source, subKernels } from './maths.js';
import { middle } from './convolution.js';
import { AXIS, axis, state, watch } from './state.js';
import { caption, cell, CELL, find, format, picture, player, plural, s } from './ui.js';

export function subKernelsChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  let frame = () => {};
  const stitch = player('compute one phase after another and stitch them', (step) => frame(step));
  part('strips').after(stitch);

  watch([...AXIS, 'x', 'w'], () => {
    const c = axis();
    const [x, w] = [state.x.slice(0, shorter(c)), state.w.slice(0, c.kernel)];
    const [y, all] = [subKernels(x, w, c), phases(c)];
    const order = all.flatMap(({ outputs }, r) => outputs.map((o) => ({ o, r })));
    const left = 40 + Math.max(...all.map(({ taps }) => taps.length), 1) * CELL;
    const at = (position) => left + (position + c.padding) * CELL;
    const rowY = (r) => 76 + r * (CELL + 8);
    const bottom = rowY(c.stride) + 24;

    frame = (step) => {
      const done = order.slice(0, step);
      const now = step < order.length || !stitch.contains(document.activeElement) ? done.at(-1) : undefined;
      const taps = now && step < order.length ? all[now.r].taps : [];
      const used = new Set(taps.map((t) => source(now.o, t, c)));
      part('strips').replaceChildren(picture(left + (c.length + 2 * c.padding) * CELL, bottom + CELL + 26,
        `${plural(c.stride, 'phase')}: ${all.map(({ taps: t }, r) => `phase ${r} uses ${plural(t.length, 'tap')}`).join(', ')}. Stitched output ${y.map(format).join(', ')}.`,
        caption(8, 66, 'sub-kernels'), caption(at(0), 12, 'input'),
        x.map((value, i) => cell(at(middle(i, c)), 20, value, `input ${used.has(i) ? 'lit' : ''}`)),
        all.map(({ taps: kernel, outputs }, r) => [
          s('rect', { x: 0, y: rowY(r) - 3, width: left + (c.length + 2 * c.padding) * CELL, height: CELL + 6, rx: 6, class: `band p${r}` }),
          kernel.length ? [...kernel].reverse().map((t, j) => cell(8 + j * CELL, rowY(r), w[t], `p${r} ${now?.r === r && step < order.length ? 'lit' : ''}`))
            : caption(8, rowY(r) + 22, 'none'),
          outputs.map((o) => cell(at(o), rowY(r), done.some((d) => d.o === o) ? y[o] : '', `p${r} ${o === now?.o && step < order.length ? 'lit' : 'dim'}`)),
        ]),
        caption(at(0), bottom - 6, 'stitched'),
        y.map((value, o) => cell(at(o), bottom, done.some((d) => d.o === o) ? value : '', `p${o % c.stride}`))));
    };
    stitch.restart(order.length);
    part('list').textContent = all.map(({ taps }, r) => `Phase ${r}: ${taps.length
      ? `kernel (${[...taps].reverse().map((t) => format(w[t])).join(', ')})` : 'no tap reaches it, always zero'}`).join('. ');
    root.dataset.subkernels = y.join(' ');
  });
}
