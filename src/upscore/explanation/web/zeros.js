// Chapter 5: zeros slide in and an ordinary convolution runs over them; beside it the sub-kernels
// do the same work, and a counter tells how many multiplications were with a zero.

import { links, phases, range, source, span, stuffed, sum, zeroInsertion } from './maths.js';
import { AXIS, axis, watch } from './state.js';
import { CELL, caption, cell, find, format, h, parts, picture, player, thousands } from './ui.js';

const SETUP = 2; // steps before the kernel slides: zeros between the inputs, zeros around them
const [KERNEL, ROW, OUTPUT] = [18, 62, 132]; // where the three rows of cells are

export function zerosChapter(root) {
  const part = parts(root);
  let frame;
  const slide = player('insert the zeros, then slide the flipped kernel', (step) => frame(step));
  part('count').before(slide);

  watch([...AXIS, 'x', 'w'], () => {
    const { c, x, w } = axis();
    const row = stuffed(x, c);
    const y = zeroInsertion(x, w, c);
    const border = span(c) - 1 - c.padding;
    const column = (i) => border + i * c.stride;
    const under = (o) => (o + (span(c) - 1) / 2) * CELL; // an output sits under the middle of its window
    const draw = (description, title, ...shapes) => picture(row.length * CELL, OUTPUT + CELL + 4, description,
      caption(1, 12, title), caption(1, OUTPUT - 8, 'output'), shapes);

    // Built once for a setting, so that the cells can slide; a step only changes their style.
    const owner = new Map(x.map((_, i) => [column(i), i]));
    const cells = row.map((value, j) => cell(0, 0, value, `${owner.has(j) ? 'input' : 'zero'} flying`));
    const taps = range(c.kernel).map((t) => cell(0, 0, w[c.kernel - 1 - t], 'weight flying'));
    const outputs = y.map((_, o) => cell(under(o), OUTPUT, '', 'output'));
    part('zeros').replaceChildren(draw(
      `Zero insertion: ${x.length} inputs become ${row.length} values, ${row.length - x.length} of them zero, `
      + `and the flipped kernel visits ${c.length} places.`, 'flipped kernel', taps, cells, outputs));

    const insert = (step, o) => {
      const move = (g, place, top, shown) => g.setAttribute('style',
        `transform: translate(${place * CELL}px, ${top}px); opacity: ${shown ? 1 : 0}`);
      cells.forEach((g, j) => {
        const between = j >= border && j <= column(x.length - 1);
        if (owner.has(j)) move(g, step > 0 ? j : border + owner.get(j), ROW, true);
        else move(g, j, ROW, step >= (between ? 1 : 2));
        g.classList.toggle('lit', o >= 0 && j >= o && j < o + span(c) && (j - o) % c.dilation === 0);
      });
      taps.forEach((g, t) => move(g, Math.max(o, 0) + t * c.dilation, KERNEL, o >= 0));
      outputs.forEach((g, j) => {
        find('text', g).textContent = j <= o ? format(y[j]) : '';
        g.classList.toggle('lit', j === o);
      });
    };

    const small = phases(c);
    const needed = range(c.length).map((o) => links(c).filter((link) => link.o === o).length);
    const beside = (o) => {
      const phase = (j) => `p${j % c.stride} ${j === o ? 'lit' : ''}`;
      const used = new Map(o < 0 ? [] : small[o % c.stride].taps.map((t) => [source(o, t, c), w[t]]));
      return draw(`Sub-kernels: ${o < 0 ? 'nothing yet' : `output ${o} needs ${used.size} of ${c.kernel} taps`}.`,
        'taps of this phase',
        x.map((value, i) => [
          used.has(i) ? cell(column(i) * CELL, KERNEL, used.get(i), phase(o)) : [],
          cell(column(i) * CELL, ROW, value, `input ${used.has(i) ? 'lit' : ''}`)]),
        y.map((value, j) => cell(under(j), OUTPUT, j <= o ? value : '', phase(j))));
    };

    const counter = (name, n, wasted) => h('li', {},
      `${name}: ${thousands(n)} multiplications, ${thousands(wasted)} of them with a zero`,
      h('span', { class: 'work', style: `--all: ${n / (c.length * c.kernel)}` },
        h('span', { style: `--part: ${n - wasted}` }), h('span', { style: `--part: ${wasted}` })));

    frame = (step) => {
      const o = Math.max(step - SETUP, 0) - 1; // the output being computed
      insert(step, o);
      part('small').replaceChildren(beside(o));
      const [all, useful] = [(o + 1) * c.kernel, sum(needed.slice(0, o + 1))];
      part('count').replaceChildren(counter('zero insertion', all, all - useful), counter('sub-kernels', useful, 0));
      root.dataset.wasted = all - useful;
    };
    slide.restart(SETUP + c.length);
    root.dataset.zeros = y.join(' ');
  });
}
