// The row of thumbnails, each with what has become of its photo.

import { find, h } from './dom.js';
import { again, remove, runOf, select, unsaved } from './photos.js';
import { state, watch } from './state.js';

const SIGNS = { waiting: '…', running: '…', done: '✓', failed: '!' };

function thumbnail(photo) {
  if (photo.thumbnail) return photo.thumbnail;
  return h('span', { class: 'format' }, photo.thumbnail === false ? photo.name.split('.').at(-1).slice(0, 5) : '');
}

function item(photo) {
  const { status, text } = runOf(photo) ?? { status: 'waiting', text: 'waiting' };
  const dirty = unsaved(photo);
  const words = `${photo.name}: ${text}${dirty ? ', changes not saved' : ''}`;
  return h('li', { 'data-status': status },
    h('button', {
      type: 'button', class: 'thumbnail', title: words, 'aria-label': words, 'data-id': photo.id,
      'aria-current': photo === state.photo ? 'true' : undefined, onclick: () => select(photo),
    }, thumbnail(photo), h('span', { class: 'sign', 'aria-hidden': 'true' }, dirty ? '●' : SIGNS[status])),
    h('button', { type: 'button', class: 'remove', title: 'Remove', 'aria-label': `Remove ${photo.name}`, onclick: () => remove(photo) }, '×'));
}

export const retryButton = () => h('button', { type: 'button', onclick: () => again(state.photo) }, 'Try again');

export function startStrip() {
  const strip = find('#strip');
  watch(['photos', 'photo', 'model', 'labels'], () => {
    const focus = document.activeElement?.dataset?.id;
    strip.replaceChildren(...state.photos.map(item));
    if (focus) find(`[data-id="${focus}"]`, strip)?.focus();
    find('#intake').hidden = state.photos.length > 0;
    find('#work').hidden = state.photos.length === 0;
    find('#more').hidden = state.photos.length === 0;
    document.body.dataset.empty = state.photos.length === 0;
  });
}
