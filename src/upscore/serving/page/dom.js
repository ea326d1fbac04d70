// Elements, words and the line that tells what has happened.

export const find = (selector, root = document) => root.querySelector(selector);

export function h(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  fill(element, attributes, inside);
  return element;
}

export function s(tag, attributes = {}, ...inside) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  fill(element, attributes, inside);
  return element;
}

function fill(element, attributes, inside) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...inside.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

// Call `action` when a button of this name is used, wherever it stands.
export function on(name, action) {
  for (const button of document.querySelectorAll(`[data-do=${name}]`)) button.addEventListener('click', action);
}

export const button = (name) => find(`[data-do=${name}]`);

let timer = 0;
// Tell in one line what has happened; screen readers read it too.
export function say(text, kind = 'done') {
  const line = find('#status');
  clearTimeout(timer);
  line.dataset.kind = kind;
  line.textContent = text;
  if (kind === 'done') timer = setTimeout(() => { line.textContent = ''; }, 6000);
}

export const thousands = (n) => n.toLocaleString('en-GB');
export const plural = (n, noun) => `${thousands(n)} ${noun}${n === 1 ? '' : 's'}`;

// A share as per cent. What is there never reads as 0, what is not whole never as 100.
export function percent(share) {
  if (share > 0 && share < 0.001) return '< 0.1 %';
  if (share < 1 && share > 0.999) return '> 99.9 %';
  return `${(100 * share).toFixed(1)} %`;
}

export function bytes(n) {
  const size = n / 2 ** 20;
  return size < 1 ? `${Math.ceil(n / 1024)} KB` : `${Number(size.toFixed(size < 10 ? 1 : 0))} MB`;
}

// One choice of a few as radio buttons; options are pairs of value and label.
export function choice(name, options, picked) {
  const box = find(`[data-choice=${name}]`);
  box.append(...options.map(([value, label]) => h('label', {},
    h('input', { type: 'radio', name, value, onchange: () => picked(value) }), h('span', {}, label))));
  return (value) => {
    for (const input of box.querySelectorAll('input')) input.checked = input.value === value;
  };
}
