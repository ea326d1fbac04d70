// Chapter 2: an ordinary convolution along one axis, as a picture, a matrix and a line of arithmetic.
// Chapter 3 draws its transpose with the same helper: `strips`.

import { convolution, links, matrix, range, span } from './maths.js';
import { AXIS, axis, state, update, watch } from './state.js';
import { CELL, caption, cell, format, list, matrixCells, numbers, parts, picture, s, slider } from './ui.js';

// Where on the page the short signal's value i sits: over the middle of its window.
export const middle = (i, c) => i * c.stride - c.padding + (span(c) - 1) / 2;

// Inputs above, outputs below, and a line for each product. `from` and `to` name the ends of a link
// (i of the short signal, o of the long one); the products of output `chosen` are lit.
export function strips({ c, w, inputs, outputs, from, to, chosen, pick, description }) {
  const column = { o: (o) => (o + c.padding) * CELL, i: (i) => (middle(i, c) + c.padding) * CELL };
  const [top, bottom] = [22, 22 + CELL + 84];
  const all = links(c);
  const lit = all.filter((link) => link[to] === chosen);
  const used = new Set(lit.map((link) => link[from]));
  const ends = (link) => ({
    x1: column[from](link[from]) + CELL / 2, y1: top + CELL, x2: column[to](link[to]) + CELL / 2, y2: bottom,
  });
  const factor = (link) => {
    const { x1, y1, x2, y2 } = ends(link);
    const place = { x: x1 + (x2 - x1) * 0.4, y: y1 + (y2 - y1) * 0.4 };
    return s('text', { ...place, class: 'note factor' }, `×${format(w[link.t])}`);
  };
  const outside = range(c.padding).flatMap((j) => [-1 - j, c.length + j]);
  return picture((c.length + 2 * c.padding) * CELL, bottom + CELL + 24, description(lit),
    caption(1, 12, 'input'),
    caption(1, bottom + CELL + 18, 'output'),
    outside.map((o) => cell(column.o(o), from === 'o' ? top : bottom, '', 'outside')),
    all.map((link) => s('line', { ...ends(link), class: 'link' })),
    lit.map((link) => [s('line', { ...ends(link), class: 'link lit' }), factor(link)]),
    inputs.map((value, j) => cell(column[from](j), top, value, `input ${used.has(j) ? 'lit' : ''}`)),
    outputs.map((value, j) => s('g', { onpointerenter: () => pick(j), onclick: () => pick(j) },
      cell(column[to](j), bottom, value, `output ${j === chosen ? 'lit' : ''}`))));
}

export function sumOfProducts(output, terms, total) {
  const products = terms.map(([a, b]) => `${format(a)}·${format(b)}`).join(' + ');
  return `output ${output} = ${products ? `${products} = ` : ''}${format(total)}`;
}

export function convolutionChapter(root) {
  const part = parts(root);
  part('controls').append(
    numbers('v', 'Input', () => state.length),
    slider('row', 'Look at output', () => axis().x.length - 1));

  watch([...AXIS, 'v', 'w', 'row'], () => {
    const { c, v, w } = axis();
    const y = convolution(v, w, c);
    const row = state.row;
    part('strips').replaceChildren(strips({
      c, w, inputs: v, outputs: y, from: 'o', to: 'i', chosen: row, pick: (j) => update({ row: j }),
      description: (lit) => `Convolution of ${c.length} values to ${y.length}. `
        + `Output ${row} is ${format(y[row])}, made from inputs ${list(lit.map(({ o }) => o))}.`,
    }));

    const size = 26;
    const cells = matrixCells(matrix(w, c), 0, 20, size, (i) => (i === row ? 'lit' : 'dim'));
    part('matrix').replaceChildren(picture(c.length * size + 2, y.length * size + 22,
      `The convolution as a matrix of ${y.length} rows and ${c.length} columns; row ${row} holds the kernel.`,
      caption(1, 12, `${y.length} × ${c.length} matrix`),
      cells.map((line, i) => s('g', { onpointerenter: () => update({ row: i }) }, line))));

    const terms = links(c).filter(({ i }) => i === row).map(({ t, o }) => [w[t], v[o]]);
    part('arithmetic').textContent = sumOfProducts(row, terms, y[row]);
    root.dataset.convolution = y.join(' ');
  });
}
