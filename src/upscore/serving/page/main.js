// Start the page: ask for the models, then wire each subject to its part.

import { models } from './api.js';
import { bytes, find, h, on, say } from './dom.js';
import { startEditing } from './edit.js';
import { startGestures } from './gestures.js';
import { startIntake } from './intake.js';
import { startLegend } from './legend.js';
import { ask } from './photos.js';
import { startResults } from './results.js';
import { classesOf, state, update, watch } from './state.js';
import { retryButton, startStrip } from './strip.js';
import { startTraining } from './training.js';
import { startView } from './view.js';

const KEYS = [
  ['+  −', 'zoom in and out; the wheel or two fingers do too'],
  ['0', 'the whole photo'],
  ['Arrows', 'move the photo; with a tool, move the cross (Shift: the photo)'],
  ['L  B  P  F  E', 'look, brush, polygon, fill, eraser'],
  ['Space', 'use the tool at the cross'],
  ['Enter  Esc', 'close the polygon, drop it'],
  ['[  ]', 'smaller and larger brush'],
  ['I', 'paint with the class under the pointer or the cross'],
  ['Ctrl+Z', 'undo; with Shift, redo'],
  ['Ctrl+V', 'add the photo in the clipboard'],
];

function startModels() {
  const select = find('#model');
  watch(['models', 'model'], () => {
    select.replaceChildren(...state.models.map(({ name }) => h('option', {}, name)));
    select.value = state.model;
    select.disabled = state.models.length < 2;
    const example = classesOf(state.model).find(({ color }) => color !== '#000000');
    if (example && example.id !== 255) find('#example').textContent = example.name;
  });
  select.addEventListener('change', () => {
    update({ model: select.value, rival: state.rival === select.value ? '' : state.rival });
  });
  // Another model answers for each photo that it has not seen.
  watch(['model'], () => { if (state.model) state.photos.forEach((photo) => ask(photo, state.model)); });
}

function startDialogs() {
  find('#keys dl').append(...KEYS.flatMap(([keys, what]) => [h('dt', {}, keys), h('dd', {}, what)]));
  on('keys', () => find('#keys').showModal());
  for (const close of document.querySelectorAll('dialog [data-do=close]')) {
    close.addEventListener('click', () => close.closest('dialog').close());
  }
}

// Words that depend on where the page is shown.
function showPlace() {
  if (matchMedia('(hover: none)').matches) find('#intake-title').textContent = 'Choose a photo'; // nothing to drop with
  const local = ['127.0.0.1', 'localhost', '[::1]'].includes(location.hostname);
  find('#privacy').textContent = local ? 'They stay on this machine.' : `They go to ${location.host} and nowhere else.`;
}

async function connect() {
  try {
    const { default: model, models: all, limits, corrections, tuning } = await models();
    update({ models: all, model, limits, corrections, tuning });
    find('#limit').textContent = bytes(limits.bytes);
    startTraining();
  } catch (error) {
    say(error.message, 'error');
  }
}

showPlace();
await connect();
startModels();
startDialogs();
startView(retryButton);
startStrip();
startLegend();
startEditing();
startGestures();
startResults();
startIntake();
document.documentElement.dataset.ready = '';
