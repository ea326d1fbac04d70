// Chapter 9: one layer in the words of PyTorch, TensorFlow, Caffe or ONNX, and in the other three.

import { range } from './maths.js';
import { READERS, WRITERS, full, position, shift, sizeOut } from './geometry.js';
import { state, update, watch } from './state.js';
import { choice, format, h, parts } from './ui.js';

const TITLES = { pytorch: 'PyTorch', tensorflow: 'TensorFlow', caffe: 'Caffe', onnx: 'ONNX' };
const size = ['size_in', 'Input size', 8];
const kernel = ['kernel', 'Kernel', 4];
const stride = ['stride', 'Stride', 2];
const dilation = ['dilation', 'Dilation', 1];
const extra = ['output_padding', 'output_padding', 0];
// [name, label, default]: null may be left empty, a list is a choice.
const FIELDS = {
  pytorch: [size, kernel, stride, ['padding', 'padding', 1], extra, dilation,
    ['output_size', 'output_size, or empty', null]],
  tensorflow: [size, kernel, stride, ['padding', 'padding', ['SAME', 'VALID']],
    ['output_size', 'output size, or empty', null], dilation],
  caffe: [size, ['kernel', 'Kernel', 64], ['stride', 'Stride', 32], ['pad', 'pad', 0], dilation,
    ['offset', 'crop offset', 19], ['crop_size', 'crop size, or empty', null]],
  onnx: [size, kernel, stride, ['begin', 'pads, begin', 1], ['end', 'pads, end', 1], extra, dilation,
    ['auto_pad', 'auto_pad', ['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER']],
    ['output_shape', 'output_shape, or empty', null]],
};

// The text of the setting `layer`, one value for each field in order, as numbers and choices.
function given() {
  const texts = state.layer ? state.layer.split(',') : [];
  return Object.fromEntries(FIELDS[state.convention].map(([name, , standard], n) => {
    const text = texts[n];
    if (Array.isArray(standard)) return [name, standard.includes(text) ? text : standard[0]];
    if (text === undefined || (text === '' && standard !== null)) return [name, standard];
    return [name, text === '' ? null : Number(text)];
  }));
}

function positions(a) {
  const last = sizeOut(a) - 1;
  const shown = last < 8 ? range(last + 1) : [0, 1, 2, 3, 4, 5, last];
  return shown.map((o) => `${o === last && last >= 8 ? '… ' : ''}${o} → ${format(position(a, o))}`).join(',  ');
}

function answer(a) {
  const row = (name, value) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, value));
  const inWords = ([name, writer]) => {
    try {
      return row(`in ${TITLES[name]}`, writer(a));
    } catch (error) { // a convention that has no words for this layer says so
      return row(`in ${TITLES[name]}`, error.message);
    }
  };
  const end = a.end < 0 ? `and ${-a.end} of zeros appended at the end` : `${a.end} at the end`;
  return [
    row('Output size', h('strong', {}, String(sizeOut(a)))),
    row('Full output, and what is cut', `${full(a)}: ${a.begin} at the beginning, ${end}`),
    row('Output → input position of its centre', positions(a)),
    row('Shift', `${format(shift(a))} output pixels against half-pixel resizing, `
      + `${format(shift(a, true))} with corners aligned`),
    ...Object.entries(WRITERS).map(inWords),
  ];
}

export function sizesChapter(root) {
  const part = parts(root);
  const form = part('fields');
  const inputs = () => [...form.querySelectorAll('input, select')];
  const write = () => update({ layer: inputs().map((input) => input.value).join(',') });
  const control = (standard) => (Array.isArray(standard)
    ? h('select', { onchange: write }, standard.map((option) => h('option', {}, option)))
    : h('input', { type: 'number', step: 1, min: 0, oninput: write }));
  part('controls').append(choice('convention', 'In the words of', Object.entries(TITLES), { layer: '' }));

  let convention;
  watch(['convention', 'layer'], () => {
    if (convention !== state.convention) {
      convention = state.convention;
      form.replaceChildren(...FIELDS[convention].map(([, label, standard]) =>
        h('label', { class: 'field' }, label, control(standard))));
    }
    const values = given();
    inputs().forEach((input, n) => {
      const value = values[FIELDS[convention][n][0]];
      if (document.activeElement !== input) input.value = Number.isNaN(value) ? '' : value ?? '';
    });
    try {
      const a = READERS[convention](values);
      part('answer').replaceChildren(...answer(a));
      part('error').textContent = '';
      root.dataset.sizes = JSON.stringify({
        size_out: sizeOut(a), begin: a.begin, end: a.end, shift: shift(a), corners: shift(a, true),
        first: position(a, 0), last: position(a, sizeOut(a) - 1),
      });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      part('answer').replaceChildren();
      part('error').textContent = `Not possible: ${error.message}.`;
      root.dataset.sizes = '{}';
    }
  });
}
