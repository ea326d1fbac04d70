// Chapter 4: outputs coloured by phase, the small kernel of each phase, and the stitching.

import { phases, source, subKernels } from './maths.js';
import { middle } from './convolution.js';
import { AXIS, axis, watch } from './state.js';
import { CELL, caption, cell, list, parts, picture, player, plural, s } from './ui.js';

export function subKernelsChapter(root) {
  const part = parts(root);
  let frame;
  const stitch = player('compute one phase after another and stitch them', (step) => frame(step));
  part('strips').after(stitch);

  watch([...AXIS, 'x', 'w'], () => {
    const { c, x, w } = axis();
    const [y, all] = [subKernels(x, w, c), phases(c)];
    const order = all.flatMap(({ outputs }) => outputs);
    const taps = all.map((phase) => [...phase.taps].reverse()); // as they lie over the inputs
    const left = 40 + Math.max(1, ...taps.map((t) => t.length)) * CELL;
    const width = left + (c.length + 2 * c.padding) * CELL;
    const at = (place) => left + (place + c.padding) * CELL;
    const rowY = (r) => 76 + r * (CELL + 8);
    const bottom = rowY(c.stride) + 24;
    const uses = taps.map((t, r) => `phase ${r} uses ${plural(t.length, 'tap')}`).join(', ');
    const description = `${plural(c.stride, 'phase')}: ${uses}. Stitched output ${list(y)}.`;

    frame = (step) => {
      const done = new Set(order.slice(0, step));
      const now = step > 0 && step < order.length ? order[step - 1] : -1;
      const used = new Set(now < 0 ? [] : taps[now % c.stride].map((t) => source(now, t, c)));
      const shown = (o) => (done.has(o) ? y[o] : '');
      const lit = (yes, otherwise = '') => (yes ? 'lit' : otherwise);
      const kernel = (r) => taps[r].map((t, j) =>
        cell(8 + j * CELL, rowY(r), w[t], `p${r} ${lit(now >= 0 && now % c.stride === r)}`));
      part('strips').replaceChildren(picture(width, bottom + CELL + 26, description,
        caption(8, 66, 'sub-kernels'), caption(at(0), 12, 'input'), caption(at(0), bottom - 6, 'stitched'),
        x.map((value, i) => cell(at(middle(i, c)), 20, value, `input ${lit(used.has(i))}`)),
        all.map(({ outputs }, r) => [
          s('rect', { y: rowY(r) - 3, width, height: CELL + 6, rx: 6, class: `band p${r}` }),
          taps[r].length ? kernel(r) : caption(8, rowY(r) + 22, 'none'),
          outputs.map((o) => cell(at(o), rowY(r), shown(o), `p${r} ${lit(o === now, 'dim')}`))]),
        y.map((_, o) => cell(at(o), bottom, shown(o), `p${o % c.stride}`))));
    };
    stitch.restart(order.length);
    part('list').textContent = taps.map((t, r) => `Phase ${r}: ${t.length
      ? `kernel (${list(t.map((tap) => w[tap]))})` : 'no tap reaches it, always zero'}`).join('. ');
    root.dataset.subkernels = y.join(' ');
  });
}
