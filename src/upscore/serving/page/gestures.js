// Pointer and keyboard on the photo: zoom, move, and what the tools are given.

import * as edit from './edit.js';
import { find, on } from './dom.js';
import { state, update } from './state.js';
import { pixelAt, point, redraw } from './view.js';
import { fit, pan, toPhoto, zoom } from './viewport.js';

const stage = find('#stage');
const pointers = new Map(); // the fingers or the mouse that are down, by id
let mode = ''; // 'pan', 'tool' or 'pinch'
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// A place in the view it lies in: those side by side are of one size and move together.
function inView(event) {
  const box = event.target.closest?.('.pane') ?? find('.pane', stage);
  const { left, top } = box.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
}

const moved = (action) => { action(); redraw(); };
const middle = () => {
  const [a, b] = [...pointers.values()];
  return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, apart: Math.hypot(a[0] - b[0], a[1] - b[1]) };
};

function pressed(event) {
  if (!state.photo || event.button === 2 || !event.target.closest('.pane')) return;
  stage.focus({ preventScroll: true });
  event.target.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, inView(event));
  if (pointers.size === 2) {
    edit.cancel();
    mode = 'pinch';
  } else if (edit.isTool() && event.button === 0 && event.target.closest('[data-pane=model]')) {
    mode = 'tool';
    point(null); // the name would hide what is painted
    edit.down(toPhoto(...inView(event)));
  } else mode = 'pan';
}

function dragged(event) {
  const now = inView(event);
  const before = pointers.get(event.pointerId);
  if (!before) point(pixelAt(...now));
  if (!before || mode === 'tool') edit.move(toPhoto(...now));
  else if (mode === 'pan') moved(() => pan(now[0] - before[0], now[1] - before[1]));
  else {
    const old = middle();
    pointers.set(event.pointerId, now);
    const { x, y, apart } = middle();
    moved(() => { pan(x - old.x, y - old.y); zoom(apart / Math.max(old.apart, 1), x, y); });
  }
  if (before) pointers.set(event.pointerId, now);
}

function released(event) {
  if (!pointers.delete(event.pointerId)) return;
  if (mode === 'tool') edit.up();
  mode = pointers.size ? 'pan' : ''; // one finger is left of two
}

function wheeled(event) {
  if (!state.photo) return;
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  moved(() => zoom(Math.exp(-event.deltaY * lines * 0.002), ...inView(event)));
}

function arrow(event, [dx, dy]) {
  if (edit.isTool() && !event.shiftKey) edit.moveCross(dx, dy);
  else moved(() => pan(-60 * dx, -60 * dy));
}

// Keys that work while the photo has the focus. Returns whether the key was one.
function stageKey(event) {
  if (ARROWS[event.key]) arrow(event, ARROWS[event.key]);
  else if (event.key === '+' || event.key === '=') moved(() => zoom(1.25));
  else if (event.key === '-') moved(() => zoom(0.8));
  else if (event.key === '0') moved(fit);
  else if (event.key === ' ' && edit.isTool()) edit.useCross();
  else if (event.key === 'Enter' && edit.hasCorners()) edit.close();
  else return false;
  return true;
}

// Keys that work anywhere but in a field for text.
function pageKey(event) {
  const tool = { l: 'look', b: 'brush', p: 'polygon', f: 'fill', e: 'eraser' }[event.key];
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key.toLowerCase() === 'z') (event.shiftKey ? edit.redo : edit.undo)();
  else if (command && event.key === 'y') edit.redo();
  else if (command || event.altKey) return false;
  else if (tool) update({ tool });
  else if (event.key === 'i' && edit.isTool()) edit.pick();
  else if (event.key === '[') edit.resizeBrush(0.8);
  else if (event.key === ']') edit.resizeBrush(1.25);
  else if (event.key === 'Escape' && edit.hasCorners()) edit.cancel();
  else return false;
  return true;
}

export function startGestures() {
  stage.addEventListener('pointerdown', pressed);
  stage.addEventListener('pointermove', dragged);
  stage.addEventListener('pointerup', released);
  stage.addEventListener('pointercancel', (event) => { edit.cancel(); released(event); });
  stage.addEventListener('pointerleave', () => { point(null); edit.leave(); });
  stage.addEventListener('wheel', wheeled, { passive: false });
  stage.addEventListener('dblclick', () => {
    if (edit.hasCorners()) edit.close();
    else if (state.tool === 'look') moved(() => zoom(2));
  });
  stage.addEventListener('keydown', (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.target === stage && state.photo && plain && stageKey(event)) event.preventDefault();
  });
  document.addEventListener('keydown', (event) => {
    const typing = event.target.matches?.('select, input:not([type=range], [type=radio])');
    const elsewhere = document.querySelector('dialog[open]') || !state.photo;
    if (!typing && !elsewhere && pageKey(event)) event.preventDefault();
  });
  on('in', () => moved(() => zoom(1.25)));
  on('out', () => moved(() => zoom(0.8)));
  on('fit', () => moved(fit));
}
