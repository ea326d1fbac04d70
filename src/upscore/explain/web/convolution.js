// Chapter 2: an ordinary convolution along one axis, as a picture, a matrix and a line of arithmetic.
// Chapter 3 draws its transpose with the same helper: `strips`.

import { convolution, links, matrix, range, shorter, span } from './maths.js';
import { AXIS, axis, state, update, watch } from './state.js';
import { CELL, caption, cell, find, format, matrixCells, numbers, picture, s, slider } from './ui.js';

// Where on the page the short signal's value i sits: over the middle of its window.
export const middle = (i, c) => i * c.stride - c.padding + (span(c) - 1) / 2;

// Two rows of cells and the products between them; `lit` are the links to show in colour.
export function strips(c, top, bottom, lit, { long, names, kinds, w, pick }) {
  const width = (c.length + 2 * c.padding) * CELL;
  const place = { long: (o) => (o + c.padding) * CELL, short: (i) => (middle(i, c) + c.padding) * CELL };
  const [up, down] = long === 'top' ? ['long', 'short'] : ['short', 'long'];
  const chosen = new Set(lit.map(({ i, o }) => (up === 'long' ? o : i)));
  const target = lit.length ? (up === 'long' ? lit[0].i : lit[0].o) : -1;
  const y = { top: 22, bottom: 22 + CELL + 84 };
  const edge = (link) => (up === 'long' ? [link.o, link.i] : [link.i, link.o]);
  const line = (link, kind) => {
    const [a, b] = edge(link);
    const [x1, x2] = [place[up](a) + CELL / 2, place[down](b) + CELL / 2];
    const [y1, y2] = [y.top + CELL, y.bottom];
    return [s('line', { x1, y1, x2, y2, class: `link ${kind}` }),
      kind && s('text', { x: x1 + (x2 - x1) * 0.4, y: y1 + (y2 - y1) * 0.4, class: 'note factor' }, `×${format(w[link.t])}`)]
      .filter(Boolean);
  };
  const outside = range(c.padding).flatMap((j) => [-1 - j, c.length + j]);
  const rowOf = (values, which, kind, isLit) => values.map((value, j) => s('g', {
    onpointerenter: () => pick?.(which, j), onclick: () => pick?.(which, j),
  }, cell(place[which === 'top' ? up : down](j), y[which], value, `${kind} ${isLit(j) ? 'lit' : ''}`)));
  return [
    width, y.bottom + CELL + 24, [
      caption(1, 12, names[0]), caption(1, y.bottom + CELL + 18, names[1]),
      outside.map((o) => cell(place.long(o), y[long], '', 'outside')),
      links(c).map((link) => line(link, '')), lit.map((link) => line(link, 'lit')),
      rowOf(top, 'top', kinds[0], (j) => chosen.has(j)),
      rowOf(bottom, 'bottom', kinds[1], (j) => j === target),
    ],
  ];
}

export function sumOfProducts(name, terms, total) {
  const products = terms.map(([a, b]) => `${format(a)}·${format(b)}`).join(' + ');
  return `${name} = ${products ? `${products} = ` : ''}${format(total)}`;
}

export function convolutionChapter(root) {
  const [picturePlace, matrixPlace, arithmetic] = ['strips', 'matrix', 'arithmetic'].map((name) => find(`[data-part=${name}]`, root));
  const which = slider('row', 'Look at output');
  find('[data-part=controls]', root).append(numbers('v', 'Input', () => state.length), which);

  watch([...AXIS, 'v', 'w', 'row'], () => {
    const c = axis();
    const [v, w] = [state.v.slice(0, c.length), state.w.slice(0, c.kernel)];
    const [y, rows, i] = [convolution(v, w, c), matrix(w, c), state.row];
    const lit = links(c).filter((link) => link.i === i);
    find('input', which).max = shorter(c) - 1;

    const [width, height, shapes] = strips(c, v, y, lit, {
      long: 'top', names: ['input', 'output'], kinds: ['input', 'output'], w,
      pick: (row, j) => row === 'bottom' && update({ row: j }),
    });
    picturePlace.replaceChildren(picture(width, height,
      `Convolution of ${c.length} values to ${y.length}. Output ${i} is ${format(y[i])}, made from inputs ${lit.map(({ o }) => o).join(', ') || 'none'}.`, shapes));

    const size = 26;
    matrixPlace.replaceChildren(picture(c.length * size + 2, y.length * size + 22,
      `The convolution as a matrix of ${y.length} rows and ${c.length} columns; row ${i} holds the kernel.`,
      caption(1, 12, `${y.length} × ${c.length} matrix`),
      matrixCells(rows, 0, 20, size, (r) => (r === i ? 'lit' : 'dim')).map((row, r) =>
        s('g', { onpointerenter: () => update({ row: r }) }, row))));
    arithmetic.textContent = sumOfProducts(`output ${i}`, lit.map(({ t, o }) => [w[t], v[o]]), y[i]);
    root.dataset.convolution = y.join(' ');
  });
}
