// The photo and its labels on the screen: one view, or two side by side that move together.

import { find, percent } from './dom.js';
import { answerOf, labelsOf, runOf } from './photos.js';
import { classOf, classesOf, state, watch } from './state.js';
import { classTints, confidenceTints, tintConfidence, tintLabels } from './tint.js';
import { resize, toPhoto, toView, viewport } from './viewport.js';

const stage = find('#stage');
const panes = ['model', 'rival'].map((role) => {
  const box = find(`[data-pane=${role}]`);
  return {
    role, box, canvas: find('canvas', box), name: find('figcaption', box), tag: find('.tag', box),
    sheet: document.createElement('canvas'),
  };
});
const decorations = []; // what tools draw over the first view
let due = false;

export const decorate = (draw) => decorations.push(draw);
export const size = (photo) => answerOf(photo) ?? answerOf(photo, state.rival) ?? photo?.bitmap;

// Draw again before the screen is shown next.
export function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; draw(); });
}

const shownPanes = () => panes.filter(({ box }) => !box.hidden);
const themeColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function draw() {
  const { photo } = state;
  panes[1].box.hidden = !state.rival;
  for (const pane of panes) {
    pane.name.hidden = !state.rival;
    const run = runOf(photo, state[pane.role]);
    pane.name.textContent = `${state[pane.role]}${run && run.status !== 'done' ? `: ${run.text}` : ''}`;
  }
  const shown = size(photo);
  const ratio = devicePixelRatio;
  for (const pane of shownPanes()) {
    const { clientWidth: width, clientHeight: height } = pane.box;
    const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (pane.canvas.width !== wide || pane.canvas.height !== tall) {
      Object.assign(pane.canvas, { width: wide, height: tall });
    }
    const context = pane.canvas.getContext('2d');
    context.resetTransform();
    context.clearRect(0, 0, wide, tall);
    if (!shown) continue;
    resize([width, height], [shown.width, shown.height]);
    drawPhoto(context, photo, shown, ratio);
    drawLabels(context, pane, photo, partShown(wide, tall, ratio));
    if (pane.role === 'model') decorations.forEach((decoration) => decoration(context, ratio));
    pane.canvas.setAttribute('aria-label', describe(photo, state[pane.role]));
  }
  find('#scale').textContent = `${Math.round(100 * viewport.scale)} %`;
  stage.dataset.scale = viewport.scale;
}

function drawPhoto(context, photo, { width, height }, ratio) {
  const [left, top] = toView(0, 0);
  const scale = viewport.scale * ratio;
  context.setTransform(scale, 0, 0, scale, left * ratio, top * ratio);
  context.imageSmoothingEnabled = scale < 3; // beyond, single pixels are meant to be seen
  context.imageSmoothingQuality = 'high';
  if (photo.bitmap) context.drawImage(photo.bitmap, 0, 0, width, height);
  else {
    context.fillStyle = themeColor('--card');
    context.fillRect(0, 0, width, height);
  }
}

// The part of the photo that a view of this size, in pixels of the screen, shows.
function partShown(width, height, ratio) {
  const [left, top] = toPhoto(0, 0);
  return { width, height, left, top, pixel: 1 / ratio / viewport.scale };
}

function drawLabels(context, pane, photo, screen) {
  const name = state[pane.role];
  const labels = labelsOf(photo, name);
  if (!labels || state.view === 'photo') return;
  const answer = answerOf(photo, name);
  const paint = () => {
    if (state.view === 'confidence') {
      const image = confidenceOf(photo, name);
      return image && tintConfidence(pane.sheet, image, answer, confidenceTints(state.opacity), screen);
    }
    const look = { opacity: state.opacity, alone: state.alone, ground: themeColor('--paper') };
    return tintLabels(pane.sheet, labels, answer, classTints(classesOf(name), look), screen);
  };
  const sheet = paint();
  if (!sheet) return;
  context.resetTransform();
  context.imageSmoothingEnabled = false;
  context.drawImage(sheet, 0, 0, screen.width, screen.height);
}

// The picture of per cents; undefined until the browser has decoded it.
function confidenceOf(photo, name) {
  photo.confidence ??= {};
  if (!photo.confidence[name]) {
    const image = new Image();
    photo.confidence[name] = { image, ready: false };
    image.src = answerOf(photo, name).confidence.image;
    image.decode().then(() => {
      if (photo.confidence?.[name]) photo.confidence[name].ready = true;
      redraw();
    }, () => {});
  }
  const { image, ready } = photo.confidence[name];
  return ready ? image : undefined;
}

function describe(photo, name) {
  const run = runOf(photo, name);
  if (!run?.answer) return `${photo.name}, ${run?.text ?? 'not sent'}`;
  const found = run.answer.classes.slice(0, 5).map((c) => `${c.name} ${percent(c.area)}`);
  return `${photo.name}, ${run.answer.width} by ${run.answer.height} pixels: ${found.join(', ')}`;
}

// The pixel of the photo at a place of a view, or null beyond its edges.
export function pixelAt(x, y) {
  const photo = size(state.photo);
  const [px, py] = toPhoto(x, y).map(Math.floor);
  return photo && px >= 0 && py >= 0 && px < photo.width && py < photo.height ? [px, py] : null;
}

const dot = document.createElement('canvas');
Object.assign(dot, { width: 1, height: 1 });

function confidenceAt(name, x, y) {
  const image = confidenceOf(state.photo, name);
  if (!image) return '';
  const context = dot.getContext('2d', { willReadFrequently: true });
  context.drawImage(image, x, y, 1, 1, 0, 0, 1, 1);
  return `, ${context.getImageData(0, 0, 1, 1).data[0]} % sure`;
}

// Name the class of a pixel, in each view at the same place of the photo; without one, name none.
export function point(pixel) {
  for (const { role, box, tag } of panes) {
    const labels = pixel && !box.hidden ? labelsOf(state.photo, state[role]) : undefined;
    tag.hidden = !labels;
    if (!labels) continue;
    const { width } = answerOf(state.photo, state[role]);
    const found = classOf(state[role], labels[pixel[1] * width + pixel[0]]);
    tag.textContent = found.name + (state.view === 'confidence' ? confidenceAt(state[role], ...pixel) : '');
    tag.style.setProperty('--swatch', found.color);
    const [x, y] = toView(pixel[0] + 0.5, pixel[1] + 0.5);
    tag.style.left = `${Math.min(Math.max(x, 4), box.clientWidth - tag.offsetWidth - 20)}px`;
    tag.style.top = `${y > 60 ? y - 44 : y + 22}px`;
  }
}

// What is said in place of a picture, or over one that lacks something.
function notice() {
  const { photo } = state;
  const run = runOf(photo);
  const box = find('#notice');
  const words = () => {
    if (!photo || !run) return ['', ''];
    if (run.status === 'failed') return ['error', run.text];
    if (run.status !== 'done') return ['busy', run.status === 'waiting' ? 'Waiting for its turn …' : run.text === 'working' ? 'Labelling …' : `${run.text[0].toUpperCase()}${run.text.slice(1)} …`];
    if (photo.shown === false) return ['note', 'This browser cannot show the photo’s format. Its labels are on a plain ground.'];
    return ['', ''];
  };
  const [kind, text] = words();
  box.hidden = !text;
  box.dataset.kind = kind;
  box.replaceChildren(text);
  return kind;
}

export function startView(retry) {
  new ResizeObserver(redraw).observe(stage);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  watch(['photo', 'view', 'opacity', 'alone', 'model', 'rival', 'models', 'labels'], redraw);
  watch(['photo', 'model', 'photos'], () => {
    if (notice() === 'error') find('#notice').append(retry());
  });
  watch(['photo', 'view', 'model', 'rival'], () => point(null));
}
