// Chapter 3: the same matrix turned, what each new output depends on, and why this is no inverse.

import { dropped, links, matrix, multiply, transpose } from './maths.js';
import { strips, sumOfProducts } from './convolution.js';
import { AXIS, axis, state, update, watch } from './state.js';
import { CELL, caption, cell, format, list, matrixCells, parts, picture, player, slider } from './ui.js';

export function transposeChapter(root) {
  turning(parts(root)('turn'));
  spreading(root);
}

// The matrix, whose rows fly over one by one and become columns.
function turning(place) {
  const size = 24;
  let cells = [];
  const move = (step) => cells.forEach((row, i) => row.forEach((g, j) => {
    const right = (state.length + 2) * size;
    const [x, y] = i < step ? [right + i * size, 20 + j * size] : [j * size, 20 + i * size];
    g.setAttribute('style', `transform: translate(${x}px, ${y}px)`);
  }));
  const turn = player('turn the matrix, a row at a time', move);
  place.after(turn);

  watch([...AXIS, 'w'], () => {
    const { c, x, w } = axis();
    const [m, L] = [x.length, c.length];
    cells = matrixCells(matrix(w, c), 0, 0, size, () => 'flying');
    place.replaceChildren(picture((L + 2 + Math.max(m, 6)) * size, Math.max(m, L) * size + 22,
      `The matrix of the convolution, ${m} by ${L}, turned row by row into its transpose, ${L} by ${m}.`,
      caption(1, 12, `convolution, ${m} × ${L}`),
      caption((L + 2) * size, 12, `its transpose, ${L} × ${m}`),
      matrixCells(matrix(w, c), 0, 20, size, () => 'ghost'),
      cells));
    turn.restart(m);
  });
}

function spreading(root) {
  const part = parts(root);
  part('controls').append(slider('column', 'Look at output', () => state.length - 1));

  watch([...AXIS, 'x', 'w', 'column'], () => {
    const { c, x, w } = axis();
    const rows = matrix(w, c);
    const y = multiply(transpose(rows), x);
    const column = state.column;
    part('strips').replaceChildren(strips({
      c, w, inputs: x, outputs: y, from: 'i', to: 'o', chosen: column, pick: (j) => update({ column: j }),
      description: (lit) => `Transposed convolution of ${x.length} values to ${y.length}. `
        + `Output ${column} is ${format(y[column])}, made from inputs ${list(lit.map(({ i }) => i))}.`,
    }));
    const terms = links(c).filter(({ o }) => o === column).map(({ t, i }) => [w[t], x[i]]);
    part('arithmetic').textContent = sumOfProducts(column, terms, y[column]);
    part('lost').textContent = dropped(c)
      ? `The convolution of ${c.length} values leaves ${dropped(c)} at the end unread, so several lengths share `
        + `one output size. The transpose must be told which is meant: that is output padding, here ${dropped(c)}.`
      : 'Here the convolution reads its input to the end, so the transpose needs no output padding.';

    const back = multiply(rows, y);
    const line = (label, values, top, kind) => [
      caption(1, top + 24, label), values.map((value, j) => cell(150 + j * CELL, top, value, kind))];
    part('inverse').replaceChildren(picture(150 + Math.max(x.length, y.length) * CELL, 3 * CELL + 20,
      `There and back: ${list(x)} becomes ${list(back)}.`,
      line('x', x, 0, 'input'),
      line('transposed', y, CELL + 10, 'output'),
      line('convolved again', back, 2 * CELL + 20, 'input')));
    const same = back.every((value, j) => Math.abs(value - x[j]) < 1e-9);
    part('verdict').textContent = same ? 'With this setting the numbers happen to come back.'
      : `${list(x)} went in, ${list(back)} came back: the shape returns, the values do not.`;
    root.dataset.transpose = y.join(' ');
  });
}
