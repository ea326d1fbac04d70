// Elements, figures, controls and the player that every animation uses.

import { range } from './maths.js';
import { AXIS, LIMITS, state, update, watch } from './state.js';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';
export const h = (tag, attributes = {}, ...inside) => fill(document.createElement(tag), attributes, inside);
export const s = (tag, attributes = {}, ...inside) => fill(document.createElementNS(SVG, tag), attributes, inside);

export const find = (selector, root = document) => root.querySelector(selector);
// The places of a chapter that its code fills: <... data-part="name">.
export const parts = (root) => (name) => find(`[data-part=${name}]`, root);

export function format(value) {
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toFixed(3)));
  return text.replace('-', '−');
}

export const list = (values) => values.map(format).join(', ') || 'none';

export const thousands = (n) => n.toLocaleString('en-GB');

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  const [unit, size] = n < 1e6 ? ['kB', 1e3] : n < 1e9 ? ['MB', 1e6] : ['GB', 1e9];
  return `${(n / size).toPrecision(3)} ${unit}`;
}

export const plural = (n, noun) => `${thousands(n)} ${noun}${n === 1 ? '' : 's'}`;

// An SVG picture with a text that says what it shows. It shrinks to fit, as far as it stays legible.
export function picture(width, height, description, ...children) {
  const view = `0 0 ${width} ${height}`;
  const style = `min-width: ${Math.round(0.7 * width)}px`;
  return s('svg', { viewBox: view, width, height, style, role: 'img', 'aria-label': description }, ...children);
}

export const CELL = 40;

// One number in a box; `kind` is a class of style.css.
export function cell(x, y, value, kind = '', size = CELL) {
  return s('g', { class: `cell ${kind}`, transform: `translate(${x} ${y})` },
    s('rect', { width: size - 2, height: size - 2, x: 1, y: 1, rx: 4 }),
    s('text', { x: size / 2, y: size / 2 }, typeof value === 'number' ? format(value) : value));
}

export const caption = (x, y, text, kind = '') => s('text', { x, y, class: `note ${kind}` }, text);

// A matrix as cells, zeros as dots; `kind(i, j)` adds classes.
export function matrixCells(rows, x, y, size, kind = () => '') {
  return rows.map((row, i) => row.map((value, j) => {
    const [text, role] = value === 0 ? ['·', 'nought'] : [value, 'weight'];
    return cell(x + j * size, y + i * size, text, `${role} ${kind(i, j)}`, size);
  }));
}

// A slider bound to one setting of the page; `most` is for one whose end depends on the axis.
export function slider(name, label, most = () => LIMITS[name][2]) {
  const output = h('output');
  const input = h('input', {
    type: 'range', min: LIMITS[name][1], 'aria-label': label,
    oninput: () => update({ [name]: input.valueAsNumber }),
  });
  watch([name, ...AXIS], () => {
    input.max = most(); // before the value, which it would clip
    input.value = state[name];
    output.value = state[name];
  });
  return h('label', { class: 'slider' }, h('span', {}, label), input, output);
}

// A field for a whole number, for settings too wide for a slider.
export function field(name, label) {
  const input = h('input', {
    type: 'number', min: LIMITS[name][1], max: LIMITS[name][2],
    onchange: () => {
      const [, least, most] = LIMITS[name];
      update({ [name]: Math.min(Math.max(Math.round(input.valueAsNumber) || least, least), most) });
      input.value = state[name];
    },
  });
  watch([name], () => { input.value = state[name]; });
  return h('label', { class: 'field' }, label, input);
}

// Radio buttons bound to one setting; options are pairs of value and label, `also` is set with any of them.
export function choice(name, legend, options, also = {}) {
  const inputs = options.map(([value, label]) => {
    const input = h('input', { type: 'radio', name, value, onchange: () => update({ ...also, [name]: value }) });
    return [input, h('label', {}, input, h('span', {}, label))];
  });
  watch([name], () => inputs.forEach(([input]) => { input.checked = input.value === state[name]; }));
  return h('fieldset', { class: 'choice' }, h('legend', {}, legend), inputs.map(([, label]) => label));
}

// The numbers of a list, to be typed over.
export function numbers(name, label, count) {
  const row = h('span', { class: 'numbers', role: 'group', 'aria-label': label });
  const inputs = state[name].map((_, i) => h('input', {
    type: 'number', step: 'any', 'aria-label': `${label} ${i + 1}`,
    onchange: (event) => {
      const value = event.target.valueAsNumber;
      update({ [name]: state[name].map((old, j) => (i === j && Number.isFinite(value) ? value : old)) });
      event.target.value = state[name][i];
    },
  }));
  watch([name, ...AXIS], () => {
    row.replaceChildren(...inputs.slice(0, count()));
    inputs.forEach((input, i) => { input.value = state[name][i]; });
  });
  return h('div', { class: 'list' }, h('span', {}, label), row);
}

// Play, pause, step: calls show(step) for step 0..last. Starts finished, so a still page is complete.
export function player(label, show, pause = 650) {
  let [step, last, timer] = [0, 0, 0];
  const name = (what) => ({ 'aria-label': `${what}: ${label}`, title: what });
  const play = h('button', { type: 'button', class: 'play', onclick: () => (timer ? stop() : start()) });
  const position = h('input', {
    type: 'range', min: 0, ...name('Step'), oninput: () => { stop(); go(position.valueAsNumber); },
  });
  const count = h('output');
  const back = h('button', { type: 'button', ...name('Back'), onclick: () => { stop(); go(step - 1); } }, '‹');
  const on = h('button', { type: 'button', ...name('Forward'), onclick: () => { stop(); go(step + 1); } }, '›');
  const element = h('div', { class: 'player', role: 'group', 'aria-label': label }, play, back, on, position, count);

  function go(to) {
    step = Math.min(Math.max(to, 0), last);
    position.value = step;
    count.value = `${step} / ${last}`;
    element.dataset.step = step;
    show(step);
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = 'Play';
    play.setAttribute('aria-label', `Play: ${label}`);
  }
  function start() {
    play.textContent = 'Pause';
    play.setAttribute('aria-label', `Pause: ${label}`);
    if (step === last) go(0);
    const wait = Math.max(60, Math.min(pause, 15000 / last)); // a long sweep plays faster: none takes minutes
    timer = setInterval(() => { go(step + 1); if (step === last) stop(); }, wait);
  }
  element.restart = (steps) => {
    stop();
    last = steps;
    position.max = last;
    element.dataset.last = last;
    go(last);
  };
  return element;
}

// Wide pictures scroll sideways on a phone; a box that scrolls must be reachable by keyboard.
export function watchScrolling() {
  const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth + 1) target.setAttribute('tabindex', 0);
    else target.removeAttribute('tabindex');
  }));
  document.querySelectorAll('.stage').forEach((stage) => observer.observe(stage));
}


