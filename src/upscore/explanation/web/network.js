// Chapter 10: FCN-32s, 16s, 8s and 4s with the shapes for the reader's photo.

import { range } from './maths.js';
import { state, watch } from './state.js';
import { bytes, caption, choice, field, h, parts, picture, s, thousands } from './ui.js';

const STRIDES = [4, 8, 16, 32];
const [COLUMN, WIDE, TALL] = [176, 150, 46];
const [FEATURES, SCORES, SUMS, LABELS] = [30, 132, 234, 336]; // where the four rows of boxes are
const left = (n) => 8 + n * COLUMN;
const centre = (n) => left(n) + WIDE / 2;

function box(n, top, title, text, kind) {
  return s('g', { class: `box ${kind}`, transform: `translate(${left(n)} ${top})` },
    s('rect', { width: WIDE, height: TALL, rx: 8 }),
    s('text', { x: WIDE / 2, y: 18, class: 'title' }, title),
    s('text', { x: WIDE / 2, y: 35 }, text));
}

const arrow = (...points) => s('polyline', { points: points.join(' '), class: 'arrow', 'marker-end': 'url(#tip)' });
const tip = () => s('defs', {},
  s('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 6, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
    s('path', { d: 'M0 0 L8 4 L0 8 z' })));

function diagram({ H, W, C, finest, shape, title }) {
  const padded = (stride) => `${Math.ceil(H / 32) * 32 / stride} × ${Math.ceil(W / 32) * 32 / stride}`;
  const middle = (top) => top + TALL / 2;
  const down = (n, top, bottom, label) => [
    arrow([centre(n), top + TALL], [centre(n), bottom - 6]), caption(centre(n) + 6, bottom - 14, label)];
  const used = range(4).map((j) => j + 1).filter((n) => STRIDES[n - 1] >= finest);
  const last = finest === 32 ? SCORES : SUMS;
  return picture(left(5), LABELS + TALL + 8,
    `${title} for a photo of ${H} by ${W}: scores at strides ${used.map((n) => STRIDES[n - 1]).reverse().join(', ')} `
    + `become ${shape(finest)} and then a label map.`,
    tip(),
    box(0, FEATURES, 'photo', `3 × ${H} × ${W}`, 'photo'),
    STRIDES.map((stride, n) => [
      arrow([left(n) + WIDE, middle(FEATURES)], [left(n + 1) - 6, middle(FEATURES)]),
      box(n + 1, FEATURES, `features 1/${stride}`, padded(stride), 'features')]),
    used.map((n) => [
      down(n, FEATURES, SCORES, '1×1 convolution'),
      box(n, SCORES, `score_${STRIDES[n - 1]}`, shape(STRIDES[n - 1]), 'score')]),
    used.slice(0, -1).map((n) => [
      down(n, SCORES, SUMS, '+'),
      box(n, SUMS, 'sum', shape(STRIDES[n - 1]), 'sum'),
      n === 3 ? [
        arrow([centre(4), SCORES + TALL], [centre(4), middle(SUMS)], [left(3) + WIDE + 6, middle(SUMS)]),
        caption(left(3) + WIDE + 8, middle(SUMS) + 18, 'upscore_16: 4×4, stride 2'),
      ] : arrow([left(n + 1), middle(SUMS)], [left(n) + WIDE + 6, middle(SUMS)])]),
    box(0, LABELS, 'label map', `${H} × ${W}`, 'labels'),
    arrow([centre(used[0]), last + TALL], [centre(used[0]), middle(LABELS)], [left(0) + WIDE + 6, middle(LABELS)]),
    caption(left(0) + WIDE + 14, middle(LABELS) + 18, `upscore.argmax(scores, size=(${H}, ${W}), stride=${finest})`));
}

export function networkChapter(root) {
  const part = parts(root);
  part('controls').append(
    choice('net', 'Network', ['32', '16', '8', '4'].map((stride) => [`fcn${stride}s`, `FCN-${stride}s`])),
    field('height', 'Photo height'), field('width', 'Photo width'), field('classes', 'Classes'));

  watch(['net', 'height', 'width', 'classes'], () => {
    const { height: H, width: W, classes: C } = state;
    const finest = Number(state.net.match(/\d+/)[0]);
    const sizes = (stride) => [C, Math.ceil(H / stride), Math.ceil(W / stride)];
    const shape = (stride) => sizes(stride).join(' × ');
    part('diagram').replaceChildren(diagram({ H, W, C, finest, shape, title: `FCN-${finest}s` }));

    const coarse = sizes(finest).reduce((a, b) => a * b);
    part('product').textContent = `${finest < 32 ? 'Each arrow to the left is a transposed convolution that doubles '
      + 'the map. ' : ''}The last step makes ${thousands(H * W)} labels of ${thousands(coarse)} scores.`;
    part('memory').replaceChildren(...[
      ['coarse scores', `${shape(finest)} float32`, 4 * coarse],
      ['full-size scores, which the fused head never writes', `${C} × ${H} × ${W} float32`, 4 * C * H * W],
      ['label map', `${H} × ${W} uint8`, H * W],
    ].map(([name, what, size]) => h('tr', {},
      h('th', { scope: 'row' }, name), h('td', {}, what), h('td', { class: 'number' }, bytes(size)))));
    root.dataset.shape = sizes(finest).join(' ');
  });
}
