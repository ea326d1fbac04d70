// Chapter 5: zeros slide in and an ordinary convolution runs over them; beside it the sub-kernels
// do the same work, and a counter tells how many multiplications were with a zero.

import { links, phases, range, shorter, source, span, stuffed, zeroInsertion } from './maths.js';
import { AXIS, axis, state, watch } from './state.js';
import { caption, cell, CELL, find, format, h, picture, player, thousands } from './ui.js';

const SETUP = 3; // the inputs alone, zeros between them, zeros around them

export function zerosChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  let frame = () => {};
  const slide = player('insert the zeros, then slide the flipped kernel', (step) => frame(step));
  part('count').before(slide);

  watch([...AXIS, 'x', 'w'], () => {
    const c = axis();
    const [x, w] = [state.x.slice(0, shorter(c)), state.w.slice(0, c.kernel)];
    const [row, y, small] = [stuffed(x, c), zeroInsertion(x, w, c), phases(c)];
    const border = span(c) - 1 - c.padding;
    const width = row.length * CELL;
    const under = (o) => (o + (span(c) - 1) / 2) * CELL; // an output sits under the middle of its window
    const owner = new Map(x.map((_, i) => [border + i * c.stride, i]));
    const needed = range(c.length).map((o) => links(c).filter((link) => link.o === o).length);

    // Built once for a setting, so that the cells can slide; a step only changes their style.
    const cells = row.map((value, j) => cell(0, 0, value, owner.has(j) ? 'input flying' : 'zero flying'));
    const taps = range(c.kernel).map((t) => cell(0, 0, w[c.kernel - 1 - t], 'weight flying'));
    const outputs = y.map((_, o) => cell(under(o), 132, '', 'output'));
    const text = (g, value) => { find('text', g).textContent = value; };
    part('zeros').replaceChildren(picture(width, 132 + CELL + 4,
      `Zero insertion: ${x.length} inputs become ${row.length} values, ${row.length - x.length} of them zero, and the flipped kernel visits ${c.length} places.`,
      caption(1, 12, 'flipped kernel'), caption(1, 124, 'output'), taps, cells, outputs));

    const beside = (o, done) => {
      const { taps: kernel } = o >= 0 ? small[o % c.stride] : { taps: [] };
      const used = new Map(kernel.map((t) => [source(o, t, c), t]));
      return picture(width, 132 + CELL + 4,
        `Sub-kernels: output ${o} needs ${kernel.length} of ${c.kernel} taps.`,
        caption(1, 12, 'taps of this phase'), caption(1, 124, 'output'),
        x.map((value, i) => [
          used.has(i) ? cell((border + i * c.stride) * CELL, 18, w[used.get(i)], `p${o % c.stride} lit`) : [],
          cell((border + i * c.stride) * CELL, 62, value, `input ${used.has(i) ? 'lit' : ''}`)]),
        y.map((value, j) => cell(under(j), 132, j < done ? value : '', `p${j % c.stride} ${j === o ? 'lit' : ''}`)));
    };

    frame = (step) => {
      const done = Math.max(step - SETUP + 1, 0); // outputs computed so far
      const o = done - 1;
      const move = (g, column, y0, shown) => g.setAttribute('style',
        `transform: translate(${column * CELL}px, ${y0}px); opacity: ${shown ? 1 : 0}`);
      cells.forEach((g, j) => {
        const inner = j >= border && j < border + (x.length - 1) * c.stride + 1;
        const i = owner.get(j);
        if (i === undefined) move(g, j, 62, inner ? step >= 1 : step >= 2);
        else move(g, step >= 1 ? j : border + i, 62, true);
        g.classList.toggle('lit', o >= 0 && j >= o && j < o + span(c) && (j - o) % c.dilation === 0);
      });
      taps.forEach((g, t) => move(g, Math.max(o, 0) + t * c.dilation, 18, done > 0));
      outputs.forEach((g, j) => {
        text(g, j < done ? format(y[j]) : '');
        g.classList.toggle('lit', j === o);
      });
      part('small').replaceChildren(beside(o, done));
      const [all, useful] = [done * c.kernel, needed.slice(0, done).reduce((a, b) => a + b, 0)];
      part('count').replaceChildren(...[['zero insertion', all, all - useful], ['sub-kernels', useful, 0]].map(([name, n, wasted]) =>
        h('li', {}, `${name}: ${thousands(n)} multiplications, ${thousands(wasted)} of them with a zero`,
          h('span', { class: 'work', style: `--all: ${n / (c.length * c.kernel)}` },
            h('span', { style: `--part: ${n - wasted}` }), h('span', { style: `--part: ${wasted}` })))));
      root.dataset.wasted = all - useful;
    };
    slide.restart(SETUP - 1 + c.length);
    root.dataset.zeros = y.join(' ');
  });
}
