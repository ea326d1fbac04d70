// The photos of the page, the queue in which they are sent, and what is kept of each.
//
// Only the photo that is shown keeps its pixels and label maps decoded; of the others there are the
// file, the answers as they came, and label maps that were corrected.

import { Problem, segment } from './api.js';
import { bytes, plural, say } from './dom.js';
import { labelMap } from './runs.js';
import { changed, state, update } from './state.js';

const AT_ONCE = 2;
const THUMBNAIL = 96;
const jobs = [];
let active = 0;
let count = 0;
let thumbnails = Promise.resolve(); // one after the other: each decodes a whole photo

export const runOf = (photo, model = state.model) => photo?.runs[model];
export const answerOf = (photo, model = state.model) => photo?.runs[model]?.answer;
export const editOf = (photo, model = state.model) => photo?.edits[model];
export const unsaved = (photo) => Object.values(photo.edits).some((edit) => edit.unsaved());

// The label map of a photo by a model: corrected, or as the model answered; undefined until it has.
export function labelsOf(photo, model = state.model) {
  const answer = answerOf(photo, model);
  if (!answer) return undefined;
  if (photo.edits[model]) return photo.edits[model].labels;
  photo.decoded[model] ??= labelMap(answer);
  return photo.decoded[model];
}

export function add(files) {
  const photos = [...files].map((file) => ({
    id: count += 1, file, name: file.name || 'photo', thumbnail: null, bitmap: null, shown: undefined,
    runs: {}, edits: {}, decoded: {},
  }));
  if (!photos.length) return;
  for (const photo of photos) {
    thumbnails = thumbnails.then(() => makeThumbnail(photo));
    ask(photo, state.model);
  }
  update({ photos: [...state.photos, ...photos] });
  select(photos[0]);
}

async function makeThumbnail(photo) {
  try {
    const bitmap = await createImageBitmap(photo.file);
    const scale = THUMBNAIL / Math.min(bitmap.width, bitmap.height);
    const canvas = document.createElement('canvas');
    canvas.width = THUMBNAIL;
    canvas.height = THUMBNAIL;
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    canvas.getContext('2d').drawImage(bitmap, (THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2, width, height);
    bitmap.close();
    photo.thumbnail = canvas;
  } catch { // TIFF and others that browsers do not show
    photo.thumbnail = false;
  }
  changed('photos');
}

// Ask a model about a photo, unless that is done or under way.
export function ask(photo, model) {
  if (photo.runs[model]) return;
  photo.runs[model] = { status: 'waiting', text: 'waiting' };
  const job = { photo, model };
  if (photo === state.photo) jobs.unshift(job); // the one that is looked at goes first
  else jobs.push(job);
  work();
}

export function again(photo, model = state.model) {
  delete photo.runs[model];
  delete photo.decoded[model];
  ask(photo, model);
  changed('photos', 'photo');
}

function work() {
  while (active < AT_ONCE && jobs.length) {
    active += 1;
    run(jobs.shift()).finally(() => { active -= 1; work(); });
  }
}

async function run({ photo, model }) {
  const run = photo.runs[model];
  if (!run || photo.removed) return;
  const tell = (status, text) => {
    Object.assign(run, { status, text });
    changed('photos');
    if (photo === state.photo) changed('photo');
  };
  tell('running', 'working');
  try {
    if (photo.file.size > state.limits.bytes) {
      throw new Problem(413, `This file has ${bytes(photo.file.size)}; the server takes up to ${bytes(state.limits.bytes)}. Send a smaller copy.`);
    }
    run.answer = await segment(photo.file, model, (seconds) => tell(
      'running', `the server is busy, trying again in ${plural(seconds, 'second')}`));
    tell('done', 'done');
    if (photo === state.photo) say(`${photo.name}: done.`);
  } catch (error) {
    tell('failed', error.message);
    say(`${photo.name}: ${error.message}`, 'error');
  }
}

// Show a photo, and let go of what the one before held.
export function select(photo) {
  if (photo === state.photo) return;
  if (state.photo) release(state.photo);
  update({ photo, alone: '' });
  if (photo) load(photo);
}

function release(photo) {
  photo.bitmap?.close();
  Object.assign(photo, { bitmap: null, shown: undefined, decoded: {}, confidence: null });
}

async function load(photo) {
  const bitmap = await createImageBitmap(photo.file).catch(() => null);
  if (photo !== state.photo) { // another was chosen meanwhile
    bitmap?.close();
    return;
  }
  Object.assign(photo, { bitmap, shown: bitmap !== null });
  changed('photo');
}

export function remove(photo) {
  if (unsaved(photo) && !confirm(`${photo.name} has corrections that are not saved. Remove it all the same?`)) return;
  const at = state.photos.indexOf(photo);
  photo.removed = true;
  const photos = state.photos.filter((other) => other !== photo);
  if (photo === state.photo) select(photos[Math.min(at, photos.length - 1)] ?? null);
  update({ photos });
}
