// Chapter 10: FCN-32s, 16s, 8s and 4s with the shapes for the reader's photo.

import { range } from './maths.js';
import { state, watch } from './state.js';
import { bytes, caption, choice, field, find, h, picture, s, thousands } from './ui.js';

const up = (n, stride) => Math.ceil(n / stride);

export function networkChapter(root) {
  const part = (name) => find(`[data-part=${name}]`, root);
  part('controls').append(
    choice('net', 'Network', ['32', '16', '8', '4'].map((stride) => [`fcn${stride}s`, `FCN-${stride}s`])),
    field('height', 'Photo height'), field('width', 'Photo width'), field('classes', 'Classes'));

  watch(['net', 'height', 'width', 'classes'], () => {
    const [H, W, C] = [state.height, state.width, state.classes];
    const finest = Number(state.net.match(/\d+/)[0]);
    const strides = [4, 8, 16, 32];
    const shape = (stride) => `${C} × ${up(H, stride)} × ${up(W, stride)}`;
    const [column, boxW, boxH] = [176, 150, 46];
    const x = (n) => 8 + n * column;
    const box = (left, top, title, text, kind) => s('g', { class: `box ${kind}`, transform: `translate(${left} ${top})` },
      s('rect', { width: boxW, height: boxH, rx: 8 }),
      s('text', { x: boxW / 2, y: 18, class: 'title' }, title), s('text', { x: boxW / 2, y: 35 }, text));
    const arrow = (points, label, lx, ly) => [s('polyline', { points: points.map((p) => p.join(',')).join(' '), class: 'arrow', 'marker-end': 'url(#tip)' }),
      label ? caption(lx, ly, label) : []];
    const rows = { encoder: 30, score: 132, sum: 234 };
    const middle = boxW / 2;

    const encoder = [0, ...strides].map((stride, n) => box(x(n), rows.encoder, stride ? `features 1/${stride}` : 'photo',
      stride ? `${up(H, 32) * 32 / stride} × ${up(W, 32) * 32 / stride}` : `3 × ${H} × ${W}`, stride ? 'features' : 'photo'));
    const along = range(4).map((n) => arrow([[x(n) + boxW, rows.encoder + boxH / 2], [x(n + 1) - 6, rows.encoder + boxH / 2]]));
    const used = strides.map((stride, n) => ({ stride, n: n + 1 })).filter(({ stride }) => stride >= finest);
    const scores = used.map(({ stride, n }) => [
      box(x(n), rows.score, `score_${stride}`, shape(stride), 'score'),
      arrow([[x(n) + middle, rows.encoder + boxH], [x(n) + middle, rows.score - 6]], '1×1 convolution', x(n) + middle + 6, rows.score - 14)]);
    const sums = used.filter(({ stride }) => stride < 32).map(({ stride, n }) => [
      box(x(n), rows.sum, 'sum', shape(stride), 'sum'),
      arrow([[x(n) + middle, rows.score + boxH], [x(n) + middle, rows.sum - 6]], '+', x(n) + middle + 6, rows.sum - 14),
      arrow([[x(n + 1) + (stride === 16 ? middle : 0), stride === 16 ? rows.score + boxH : rows.sum + boxH / 2],
        ...(stride === 16 ? [[x(n + 1) + middle, rows.sum + boxH / 2]] : []), [x(n) + boxW + 6, rows.sum + boxH / 2]],
      stride === 16 ? `upscore_${stride}: 4×4, stride 2` : '', x(n) + boxW + 8, rows.sum + boxH / 2 + 18)]);
    const last = used[0];
    const from = finest === 32 ? rows.score : rows.sum;
    const head = [box(x(0), 336, 'label map', `${H} × ${W}`, 'labels'),
      arrow([[x(last.n) + middle, from + boxH], [x(last.n) + middle, 336 + boxH / 2], [x(0) + boxW + 6, 336 + boxH / 2]],
        `upscore.argmax(scores, size=(${H}, ${W}), stride=${finest})`, x(0) + boxW + 14, 336 + boxH / 2 + 18)];
    part('diagram').replaceChildren(picture(x(5), 390,
      `${state.net.toUpperCase().replace('FCN', 'FCN-').replace('S', 's')} for a photo of ${H} by ${W}: scores at strides ${used.map(({ stride }) => stride).reverse().join(', ')} are summed to ${shape(finest)} and then become a label map.`,
      s('defs', {}, s('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 6, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' }, s('path', { d: 'M0 0 L8 4 L0 8 z' }))),
      encoder, along, scores, sums, head));

    const coarse = C * up(H, finest) * up(W, finest);
    part('memory').replaceChildren(...[
      ['coarse scores', `${shape(finest)} float32`, bytes(4 * coarse)],
      ['full-size scores, which the fused head never writes', `${C} × ${H} × ${W} float32`, bytes(4 * C * H * W)],
      ['label map', `${H} × ${W} uint8`, bytes(H * W * (C > 256 ? 2 : 1))],
    ].map((cells) => h('tr', {}, h('th', { scope: 'row' }, cells[0]), h('td', {}, cells[1]), h('td', { class: 'number' }, cells[2]))));
    root.dataset.shape = `${C} ${up(H, finest)} ${up(W, finest)}`;
    part('product').textContent = `${finest < 32 ? 'Each arrow to the left is a transposed convolution that doubles the map. ' : ''}The last step writes ${thousands(H * W)} labels out of ${thousands(coarse)} scores.`;
  });
}
