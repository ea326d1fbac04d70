// What the reader has set, kept in the page's fragment: #chapter&stride=3&kernel=4
// A link with a fragment is the whole setting: what it does not name has its default.

import { shorter } from './maths.js';

const WHOLE = {
  // name: [default, least, most]
  length: [9, 1, 16], kernel: [3, 1, 5], stride: [2, 1, 4], padding: [1, 0, 12], dilation: [1, 1, 3],
  row: [2, 0, 27], column: [3, 0, 15],
  side: [4, 1, 5], kernel2: [3, 1, 6], stride2: [2, 1, 3], padding2: [0, 0, 10],
  output2: [0, 0, 2], dilation2: [1, 1, 2],
  factor: [4, 1, 8],
  height: [360, 1, 8192], width: [480, 1, 8192], classes: [21, 1, 256],
};
const LISTS = {
  v: [2, 0, 1, 3, 1, 4, 0, 2, 5, 1, 3, 2, 0, 4, 1, 2],
  x: [1, 3, 2, 4, 1, 0, 2, 5, 3, 1, 4, 2, 1, 3, 0, 2, 4, 1, 2, 0, 3, 1, 5, 2, 1, 0, 4, 3],
  w: [1, 2, 1, 3, 2],
};
const CHOICES = {
  coarse: ['32', '16', '8', '4'],
  left: ['coarse', 'score', 'photo'],
  sweep: ['gather', 'stamp'],
  filter: ['ones', 'numbers', 'bilinear'],
  net: ['fcn4s', 'fcn8s', 'fcn16s', 'fcn32s'],
  convention: ['pytorch', 'tensorflow', 'caffe', 'onnx'],
  layer: [''], // the size calculator's fields, written size:8,kernel:4,...
};
const NAMES = [...Object.keys(WHOLE), ...Object.keys(LISTS), ...Object.keys(CHOICES)];

export const LIMITS = WHOLE;
export const state = { chapter: '' };
const watchers = [];

function fallback(name) {
  if (name in WHOLE) return WHOLE[name][0];
  return name in LISTS ? LISTS[name] : CHOICES[name][0];
}

// A value as text from outside -> a value that is allowed, or the default.
function parse(name, text) {
  if (text === null) return fallback(name);
  if (name in LISTS) {
    const given = text.split(',').map(Number).filter(Number.isFinite);
    return LISTS[name].map((value, i) => given[i] ?? value);
  }
  if (name === 'layer') return text;
  if (name in CHOICES) return CHOICES[name].includes(text) ? text : fallback(name);
  const [value, least, most] = WHOLE[name];
  return /^-?\d+$/.test(text) ? Math.min(Math.max(Number(text), least), most) : value;
}

// Some settings rule others out; the one that was not touched gives way.
function reconcile(s) {
  const span = s.dilation * (s.kernel - 1) + 1;
  s.padding = Math.min(s.padding, span - 1);
  s.length = Math.max(s.length, span - 2 * s.padding);
  const outputs = Math.floor((s.length + 2 * s.padding - span) / s.stride) + 1;
  s.row = Math.min(s.row, outputs - 1);
  s.column = Math.min(s.column, s.length - 1);
  if (s.filter === 'bilinear') {
    s.kernel2 = 2 * s.stride2 - (s.stride2 % 2);
    s.dilation2 = 1;
  }
  const span2 = s.dilation2 * (s.kernel2 - 1) + 1;
  s.output2 = Math.min(s.output2, Math.max(s.stride2, s.dilation2) - 1);
  // At least one output must be left.
  const most = Math.floor(((s.side - 1) * s.stride2 + span2 + s.output2 - 1) / 2);
  s.padding2 = Math.min(s.padding2, span2 - 1, most);
}

export function update(changes) {
  const before = { ...state };
  Object.assign(state, changes);
  reconcile(state);
  const changed = new Set(NAMES.filter((name) => String(state[name]) !== String(before[name])));
  for (const { names, render } of watchers) if (names.some((name) => changed.has(name))) render();
  if (fragment() !== (location.hash || '#')) history.replaceState(null, '', fragment());
}

export function fragment() {
  const set = NAMES.filter((name) => String(state[name]) !== String(fallback(name)));
  return `#${[state.chapter, ...set.map((name) => `${name}=${state[name]}`)].join('&')}`;
}

export function readFragment() {
  const [chapter, ...rest] = location.hash.slice(1).split('&');
  const given = new URLSearchParams(rest.join('&'));
  const changes = Object.fromEntries(NAMES.map((name) => [name, parse(name, given.get(name))]));
  update({ ...changes, chapter });
}

// Call `render` now and whenever one of the named settings changes.
export function watch(names, render) {
  watchers.push({ names, render });
  render();
}

// The one axis of chapters 2 to 6: its setting c, the short signal x, the long one v, the kernel w.
export const AXIS = ['length', 'kernel', 'stride', 'padding', 'dilation'];

export function axis() {
  const c = Object.fromEntries(AXIS.map((name) => [name, state[name]]));
  return { c, x: state.x.slice(0, shorter(c)), v: state.v.slice(0, c.length), w: state.w.slice(0, c.kernel) };
}
