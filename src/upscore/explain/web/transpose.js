// Chapter 3: the same matrix turned, what each new output depends on, and why this is no inverse.

import { dropped, links, matrix, multiply, shorter, transpose } from './maths.js';
import { strips, sumOfProducts } from './convolution.js';
import { AXIS, axis, state, update, watch } from './state.js';
import { caption, cell, CELL, find, format, matrixCells, picture, player, slider } from './ui.js';

export function transposeChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  const which = slider('column', 'Look at output');
  part('controls').append(which);

  const size = 24;
  let cells = [];
  const turn = player('turn the matrix, a row at a time', (step) => cells.forEach((row, i) => row.forEach((g, j) => {
    const right = (state.length + 2) * size;
    const [x, y] = i < step ? [right + i * size, 20 + j * size] : [j * size, 20 + i * size];
    g.setAttribute('style', `transform: translate(${x}px, ${y}px)`);
  })));
  part('turn').after(turn);

  watch([...AXIS, 'w'], () => {
    const [c, w] = [axis(), state.w.slice(0, state.kernel)];
    const [m, L] = [shorter(c), c.length];
    cells = matrixCells(matrix(w, c), 0, 0, size);
    cells.forEach((row) => row.forEach((g) => g.classList.add('flying')));
    part('turn').replaceChildren(picture(Math.max((L + m + 2) * size, (L + 2) * size + 140), Math.max(m, L) * size + 22,
      `The matrix of the convolution, ${m} by ${L}, turned row by row into its transpose, ${L} by ${m}.`,
      caption(1, 12, `convolution, ${m} × ${L}`), caption((L + 2) * size, 12, `its transpose, ${L} × ${m}`),
      matrixCells(matrix(w, c), 0, 20, size, () => 'ghost'), cells));
    turn.restart(m);
  });

  watch([...AXIS, 'x', 'w', 'column'], () => {
    const c = axis();
    const [x, w] = [state.x.slice(0, shorter(c)), state.w.slice(0, c.kernel)];
    const rows = matrix(w, c);
    const [y, o] = [multiply(transpose(rows), x), state.column];
    const lit = links(c).filter((link) => link.o === o);
    find('input', which).max = c.length - 1;

    const [width, height, shapes] = strips(c, x, y, lit, {
      long: 'bottom', names: ['input', 'output'], kinds: ['input', 'output'], w,
      pick: (row, j) => row === 'bottom' && update({ column: j }),
    });
    part('strips').replaceChildren(picture(width, height,
      `Transposed convolution of ${x.length} values to ${y.length}. Output ${o} is ${format(y[o])}, made from inputs ${lit.map(({ i }) => i).join(', ') || 'none'}.`, shapes));
    part('arithmetic').textContent = sumOfProducts(`output ${o}`, lit.map(({ i, t }) => [w[t], x[i]]), y[o]);

    const back = multiply(rows, y);
    const line = (label, values, top, kind) => [caption(1, top + 22, label), values.map((value, j) => cell(150 + j * CELL, top, value, kind))];
    part('inverse').replaceChildren(picture(150 + Math.max(c.length, 1) * CELL, 3 * CELL + 20,
      `There and back: ${x.map(format).join(', ')} becomes ${back.map(format).join(', ')}.`,
      line('x', x, 0, 'input'), line('transposed', y, CELL + 10, 'output'), line('convolved again', back, 2 * CELL + 20, 'input')));
    const same = back.every((value, j) => Math.abs(value - x[j]) < 1e-9);
    part('verdict').textContent = same
      ? 'With this setting the numbers happen to come back; change one and they no longer do.'
      : `${x.map(format).join(', ')} went in, ${back.map(format).join(', ')} came back: the shape returns, the values do not.`;
    part('lost').textContent = dropped(c)
      ? `The convolution of ${c.length} values leaves ${dropped(c)} at the end unread, so that several lengths share one output size. The transpose must be told which length is meant: that is output padding, here ${dropped(c)}.`
      : 'Here the convolution reads its input to the end, so the transpose needs no output padding.';
    root.dataset.transpose = y.join(' ');
  });
}
