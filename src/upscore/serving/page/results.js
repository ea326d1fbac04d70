// What leaves the page: corrected masks to the server's data folder, and files to the user.

import { correct } from './api.js';
import { button, find, on, plural, say } from './dom.js';
import { answerOf, editOf, labelsOf, unsaved } from './photos.js';
import { png } from './png.js';
import { featureCollection } from './polygons.js';
import { changed, classOf, classesOf, state, update, watch } from './state.js';
import { classTints, rgb, tintLabels } from './tint.js';

const STRIP = 128; // rows of an overlay that are tinted at a time

function download(blob, ending) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${state.photo.name.replace(/\.\w+$/, '')}-${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it after the click
  say(`${link.download} is in your downloads.`);
}

const palette = () => Array.from({ length: 256 }, (_, id) => {
  const known = classesOf(state.model).find((c) => c.id === id);
  return known ? rgb(known.color) : [0, 0, 0];
});

const labelFile = async () => download(
  await png(labelsOf(state.photo), answerOf(state.photo), palette()), 'labels.png');

function polygonFile() {
  const collection = featureCollection(
    labelsOf(state.photo), answerOf(state.photo), (id) => classOf(state.model, id).name);
  download(new Blob([JSON.stringify(collection)], { type: 'application/geo+json' }), 'polygons.geojson');
}

// The photo at its own size with the tint of the view.
async function overlayFile() {
  const { photo, model, opacity } = state;
  const [labels, answer] = [labelsOf(photo), answerOf(photo)];
  const { width, height } = answer;
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d');
  if (photo.bitmap) context.drawImage(photo.bitmap, 0, 0, width, height);
  const look = classTints(classesOf(model), { opacity, alone: '', ground: '#000000' });
  const strip = document.createElement('canvas');
  for (let top = 0; top < height; top += STRIP) {
    const part = { width, height: Math.min(STRIP, height - top), left: 0, top, pixel: 1 };
    context.drawImage(tintLabels(strip, labels, answer, look, part), 0, top);
  }
  const blob = await new Promise((done) => { canvas.toBlob(done, 'image/png'); });
  if (blob) download(blob, 'overlay.png');
  else say('The photo is too large for this browser to draw an overlay of it.', 'error');
}

async function save() {
  const { photo, model } = state;
  const edit = editOf(photo, model);
  const labels = labelsOf(photo, model).slice(); // what is painted while it is sent is not in it
  button('save').disabled = true;
  const now = edit?.now();
  try {
    const mask = await png(labels, answerOf(photo, model));
    const { name, photos, folder } = await correct(photo.file, mask, model);
    if (edit) edit.saved = now;
    photo.saved = true;
    update({ corrections: { folder, photos } });
    say(`Saved as ${name}: ${plural(photos, 'photo')} in ${folder}.`);
  } catch (error) {
    say(`Not saved. ${error.message}`, 'error');
  }
  changed('photo', 'photos', 'labels');
}

function showState() {
  const { photo, corrections } = state;
  const ready = labelsOf(photo) !== undefined;
  for (const name of ['labels', 'overlay', 'polygons']) button(name).disabled = !ready;
  button('save').disabled = !ready || !corrections.folder;
  const words = () => {
    if (!corrections.folder) return 'Saving is off: start the server with a folder for corrections.';
    if (photo && unsaved(photo)) return 'Your changes are not saved yet.';
    if (photo?.saved) return `Saved. ${plural(corrections.photos, 'photo')} in ${corrections.folder}`;
    return `The photo and its mask go to ${corrections.folder}, from which upscore train learns.`;
  };
  find('#save-help').textContent = words();
  find('#save-help').dataset.unsaved = Boolean(photo && unsaved(photo));
}

export function startResults() {
  on('labels', labelFile);
  on('overlay', overlayFile);
  on('polygons', polygonFile);
  on('save', save);
  watch(['photo', 'model', 'labels', 'corrections'], showState);
}
