// Correct the labels: brush, polygon, fill and eraser, by pointer or by the cross of the keyboard.

import { button, choice, find, h, on, say } from './dom.js';
import { Edit } from './history.js';
import { answerOf, editOf, labelsOf, unsaved } from './photos.js';
import { flood, polygon, stroke } from './raster.js';
import { changed, classesOf, state, update, watch } from './state.js';
import { decorate, pixelAt, point, redraw, size } from './view.js';
import { reveal, toView, viewport } from './viewport.js';

const TOOLS = {
  look: ['Look', 'Drag to move the photo, turn the wheel or pinch to zoom.'],
  brush: ['Brush', 'Drag over the photo to paint. [ and ] change the size.'],
  polygon: ['Polygon', 'Click the corners. Enter or a double click closes it, Escape drops it.'],
  fill: ['Fill', 'Click a region to give all of it the class.'],
  eraser: ['Eraser', 'Drag over what nobody can tell: it becomes unknown, and training leaves it out.'],
};
const UNKNOWN = 255;
let corners = []; // of the polygon under way, in pixels of the photo
let last = null; // where the stroke under way has come to
let cross = null; // where tools work by keyboard
let hover = null; // where the pointer is
let chosen = false; // whether the class that is painted was chosen by hand

export const isTool = () => state.tool !== 'look' && labelsOf(state.photo) !== undefined;
export const hasCorners = () => corners.length > 0;
const id = () => (state.tool === 'eraser' ? UNKNOWN : state.paint);
const painted = () => changed('labels', 'photos');

// The label map to be changed, which is the model's answer until then.
function editing() {
  const { photo, model } = state;
  if (!photo.edits[model]) {
    photo.edits[model] = new Edit(labelsOf(photo), answerOf(photo));
    delete photo.decoded[model]; // it is the corrected one now
  }
  return photo.edits[model];
}

// One step: all that `shape` spans gets the class that is painted.
function apply(shape) {
  const edit = editing();
  edit.begin();
  shape(edit, (y, from, to) => edit.fill(y, from, to, id()));
  edit.commit();
  painted();
}

function paintTo(place) {
  const edit = editOf(state.photo);
  stroke(last, place, state.brush / 2, edit, (y, from, to) => edit.fill(y, from, to, id()));
  last = place;
  redraw();
}

export function down(place) {
  if (state.tool === 'polygon') addCorner(place);
  else if (state.tool === 'fill') fill(place);
  else {
    editing().begin();
    last = place;
    paintTo(place);
  }
}

export function move(place) {
  [hover, cross] = [place, null];
  if (last) paintTo(place);
  else if (isTool()) redraw();
}

export function up() {
  if (!last) return;
  last = null;
  editOf(state.photo).commit();
  painted();
}

// A second finger or Escape ends what is under way without a trace.
export function cancel() {
  if (last) editOf(state.photo).cancel();
  [last, corners] = [null, []];
  redraw();
}

export function leave() {
  hover = null;
  redraw();
}

function addCorner(place) {
  const [first] = corners;
  const near = first && Math.hypot(first[0] - place[0], first[1] - place[1]) * viewport.scale < 10;
  if (near && corners.length > 2) close();
  else corners.push(place);
  redraw();
}

export function close() {
  const points = corners;
  corners = [];
  if (points.length > 2) apply((edit, span) => polygon(points, edit, span));
  else say('A polygon needs three corners at least.', 'note');
  redraw();
}

function fill(place) {
  const [x, y] = place.map(Math.floor);
  const { width, height } = answerOf(state.photo);
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  if (labelsOf(state.photo)[y * width + x] === id()) return; // it is that class already
  apply((edit, span) => flood(edit.labels, [x, y], edit, span));
}

// Move the cross by CSS pixels, and name what is under it.
export function moveCross(dx, dy) {
  const { width, height } = size(state.photo);
  cross ??= [Math.floor(viewport.x) + 0.5, Math.floor(viewport.y) + 0.5];
  const step = Math.max(1, Math.round(8 / viewport.scale));
  const moved = (value, by, most) => Math.min(Math.max(value + by * step, 0.5), most - 0.5);
  cross = [moved(cross[0], dx, width), moved(cross[1], dy, height)];
  reveal(...cross);
  point(pixelAt(...toView(...cross)));
  redraw();
}

export function useCross() {
  if (!cross) moveCross(0, 0);
  down(cross);
  up();
}

// Go on with the class under the pointer or the cross.
export function pick() {
  const pixel = (cross ?? hover)?.map(Math.floor);
  const labels = labelsOf(state.photo);
  if (pixel && labels) choosePaint(labels[pixel[1] * answerOf(state.photo).width + pixel[0]]);
}

function choosePaint(paint) {
  chosen = true;
  update({ paint });
}

// Until a class is chosen it is the largest one that can be seen over the photo.
function proposePaint() {
  const seen = answerOf(state.photo)?.classes.find(({ color }) => color !== '#000000');
  if (seen && !chosen) update({ paint: seen.id });
}

export function resizeBrush(factor) {
  const brush = Math.round(state.brush * factor) + (factor > 1 ? 1 : -1);
  update({ brush: Math.min(Math.max(brush, 1), 200) });
}

export function undo() {
  if (corners.length) {
    corners.pop();
    redraw();
  } else if (editOf(state.photo)?.done.length) {
    editOf(state.photo).undo();
    painted();
  }
}

export function redo() {
  if (!editOf(state.photo)?.undone.length) return;
  editOf(state.photo).redo();
  painted();
}

function restore() {
  delete state.photo.edits[state.model];
  corners = [];
  painted();
  say('The labels are the model’s again.');
}

// The ring of the brush, the polygon under way and the cross, dark and light to be seen on any photo.
function outline(context, ratio) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const at = cross ?? hover;
  const path = new Path2D();
  if (corners.length) {
    [...corners, ...(at ? [at] : [])].forEach((corner, i) => path[i ? 'lineTo' : 'moveTo'](...toView(...corner)));
    for (const corner of corners) {
      const [x, y] = toView(...corner);
      path.rect(x - 3, y - 3, 6, 6);
    }
  }
  if (isTool() && at) {
    const [x, y] = toView(...at);
    if (state.tool === 'brush' || state.tool === 'eraser') {
      const radius = Math.max(1.5, (state.brush / 2) * viewport.scale);
      path.moveTo(x + radius, y);
      path.arc(x, y, radius, 0, 2 * Math.PI);
    }
    if (cross) {
      path.rect(x - 12, y, 24, 0);
      path.rect(x, y - 12, 0, 24);
    }
  }
  for (const [color, width] of [['#000', 3], ['#fff', 1.2]]) {
    Object.assign(context, { strokeStyle: color, lineWidth: width });
    context.stroke(path);
  }
}

function showPaints() {
  const select = find('#paint');
  const classes = classesOf(state.model);
  select.replaceChildren(...classes.map((c) => h('option', { value: c.id }, c.name)));
  const { id: paint, color } = classes.find((c) => c.id === state.paint) ?? classes[0];
  select.value = paint;
  find('#paint-field .swatch').style.background = color;
}

function showState() {
  const edit = editOf(state.photo);
  button('undo').disabled = !edit?.done.length;
  button('redo').disabled = !edit?.undone.length;
  button('restore').disabled = !edit?.done.length;
}

export function startEditing() {
  const pick = choice('tool', Object.entries(TOOLS).map(([name, [label]]) => [name, label]), (tool) => update({ tool }));
  watch(['tool'], () => {
    cancel();
    cross = null;
    pick(state.tool);
    find('#stage').dataset.tool = state.tool;
    find('#tool-help').textContent = TOOLS[state.tool][1];
    find('#tool-options').hidden = state.tool === 'look';
    find('#paint-field').hidden = state.tool === 'eraser';
    find('#brush-field').hidden = !['brush', 'eraser'].includes(state.tool);
  });
  watch(['photo'], () => { if (!answerOf(state.photo)) [corners, last, cross] = [[], null, null]; });
  watch(['photo', 'model'], proposePaint);
  watch(['model', 'models', 'paint'], showPaints);
  watch(['photo', 'model', 'labels'], showState);
  const brush = find('#brush');
  watch(['brush'], () => {
    brush.value = state.brush;
    find('#brush-field output').textContent = `${state.brush} px`;
    redraw();
  });
  brush.addEventListener('input', () => update({ brush: brush.valueAsNumber }));
  find('#paint').addEventListener('change', (event) => choosePaint(Number(event.target.value)));
  on('undo', undo);
  on('redo', redo);
  on('restore', restore);
  decorate(outline);
  addEventListener('beforeunload', (event) => { if (state.photos.some(unsaved)) event.preventDefault(); });
}
