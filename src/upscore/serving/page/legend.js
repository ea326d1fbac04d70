// The classes that were found, with their areas; and how they are shown.

import { choice, find, h, percent } from './dom.js';
import { answerOf, ask, editOf, labelsOf } from './photos.js';
import { classOf, state, update, watch } from './state.js';
import { confidenceTints } from './tint.js';

const VIEWS = [['labels', 'Labels'], ['confidence', 'Confidence'], ['photo', 'Photo']];

// Classes of a photo by a model, largest first: id, name, color, area, and confidence if not corrected.
function found(name) {
  const answer = answerOf(state.photo, name);
  if (!answer) return [];
  const edit = editOf(state.photo, name);
  if (!edit) return answer.classes;
  const pixels = new Uint32Array(256);
  for (const id of edit.labels) pixels[id] += 1;
  return [...pixels.entries()].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1])
    .map(([id, n]) => ({ ...classOf(name, id), area: n / edit.labels.length }));
}

function row(name, color, here, beside) {
  const sure = state.view === 'confidence' && here?.confidence !== undefined
    ? h('span', { class: 'sure' }, `${Math.round(100 * here.confidence)} % sure`) : null;
  const area = (one) => h('span', { class: 'area' }, one ? percent(one.area) : '–');
  const swatch = h('span', { class: 'swatch' });
  swatch.style.background = color;
  const bar = h('span', { class: 'bar' });
  bar.style.width = `${100 * (here?.area ?? 0)}%`;
  bar.style.background = color;
  const pressed = state.alone === name;
  return h('li', {}, h('button', {
    type: 'button', 'aria-pressed': String(pressed), 'data-class': name,
    onclick: () => update({ alone: pressed ? '' : name, view: 'labels' }),
  }, swatch, h('span', { class: 'name' }, name), sure, area(here), state.rival ? area(beside) : null, h('span', { class: 'track' }, bar)));
}

function showLegend() {
  const [here, beside] = [found(state.model), state.rival ? found(state.rival) : []];
  const names = new Map([...here, ...beside].map((c) => [c.name, c.color]));
  const named = (list, name) => list.find((c) => c.name === name);
  const focus = document.activeElement?.dataset?.class;
  find('#legend').replaceChildren(...[...names].map(([name, color]) => row(name, color, named(here, name), named(beside, name))));
  if (focus) find(`#legend [data-class="${CSS.escape(focus)}"]`)?.focus();
  const help = state.alone ? 'Choose it again to see all.' : 'Choose one to see it alone.';
  find('#legend-help').textContent = names.size ? help : 'They appear here once the photo is labelled.';
}

// On how much of the photo two models say the same.
function showAgreement() {
  const box = find('#agreement');
  const [ours, theirs] = state.rival ? [labelsOf(state.photo), labelsOf(state.photo, state.rival)] : [];
  box.hidden = !ours || !theirs;
  if (box.hidden) return;
  const name = (model) => Array.from({ length: 256 }, (_, id) => classOf(model, id).name);
  const [a, b] = [name(state.model), name(state.rival)];
  const same = a.map((one) => b.map((other) => one === other));
  let count = 0;
  for (let i = 0; i < ours.length; i += 1) if (same[ours[i]][theirs[i]]) count += 1;
  box.textContent = `They say the same on ${percent(count / ours.length)} of the photo.`;
}

function showRivals() {
  const others = state.models.filter(({ name }) => name !== state.model);
  find('#rival-field').hidden = !others.length;
  find('#rival').replaceChildren(h('option', { value: '' }, 'nothing'), ...others.map(({ name }) => h('option', {}, name)));
  find('#rival').value = state.rival;
}

function showKey() {
  find('#confidence-key').hidden = state.view !== 'confidence';
  const context = find('#confidence-key canvas').getContext('2d');
  const { width, height } = context.canvas;
  const picture = context.createImageData(width, height);
  const colors = new Uint32Array(picture.data.buffer);
  const tints = confidenceTints(state.opacity);
  colors.forEach((_, i) => { colors[i] = tints[Math.round(100 - (60 * (i % width)) / width)]; });
  context.putImageData(picture, 0, 0);
}

export function startLegend() {
  const pick = choice('view', VIEWS, (view) => update({ view, alone: '' }));
  watch(['view'], () => pick(state.view));
  const opacity = find('#opacity');
  watch(['opacity'], () => {
    opacity.value = state.opacity;
    find('output', opacity.parentElement).textContent = `${state.opacity} %`;
  });
  opacity.addEventListener('input', () => update({ opacity: opacity.valueAsNumber }));
  watch(['view', 'opacity'], showKey);
  watch(['models', 'model', 'rival'], showRivals);
  find('#rival').addEventListener('change', (event) => update({ rival: event.target.value }));
  watch(['photo', 'model', 'rival'], () => { if (state.photo && state.rival) ask(state.photo, state.rival); });
  watch(['photo', 'model', 'rival', 'labels', 'alone', 'view'], showLegend);
  watch(['photo', 'model', 'rival', 'labels'], showAgreement);
}
