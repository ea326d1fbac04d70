// How photos come in: dropped, pasted, chosen, or by the camera.

import { find, on, say } from './dom.js';
import { add } from './photos.js';

const carriesFiles = (event) => event.dataTransfer?.types.includes('Files');

function dropping() {
  const veil = find('#veil');
  let depth = 0; // each element that is entered and left tells of it
  addEventListener('dragenter', (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  addEventListener('dragleave', (event) => {
    if (carriesFiles(event)) depth -= 1;
    veil.hidden = depth <= 0;
  });
  addEventListener('dragover', (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener('drop', (event) => {
    [depth, veil.hidden] = [0, true];
    if (!carriesFiles(event)) return;
    event.preventDefault();
    add(event.dataTransfer.files);
  });
}

async function pasteByButton() {
  try {
    const items = await navigator.clipboard.read();
    const type = (item) => item.types.find((name) => name.startsWith('image/'));
    const blobs = await Promise.all(items.filter(type).map((item) => item.getType(type(item))));
    if (blobs.length) add(blobs.map(named));
    else say('There is no picture in the clipboard. Copy one first.', 'note');
  } catch { // not allowed, or not in this browser
    say('The browser does not let this page read the clipboard. Press Ctrl+V, or ⌘V on a Mac.', 'note');
  }
}

let taken = 0;
const named = (blob) => new File([blob], `photo-${taken += 1}.${blob.type.split('/')[1]}`, { type: blob.type });

function pasting() {
  on('paste', pasteByButton);
  addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    add(files);
  });
}

function choosing() {
  for (const input of [find('#files'), find('#capture')]) {
    input.addEventListener('change', () => {
      add(input.files);
      input.value = ''; // so that the same file can be chosen again
    });
  }
  on('choose', () => find('#files').click());
  find('.drop').addEventListener('click', (event) => { // the whole field looks as if it could be used
    if (!event.target.closest('button')) find('#files').click();
  });
}

async function openCamera() {
  const dialog = find('#camera');
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1920 } } });
    find('video', dialog).srcObject = stream;
    dialog.showModal();
  } catch (error) {
    if (error instanceof TypeError) find('#capture').click(); // no cameras for pages by plain HTTP: the phone's own app
    else say(error.name === 'NotFoundError' ? 'No camera was found.' : 'The browser did not let this page use the camera.', 'error');
  }
}

function camera() {
  const dialog = find('#camera');
  const video = find('video', dialog);
  on('camera', openCamera);
  on('shoot', () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob((blob) => add([named(blob)]), 'image/jpeg', 0.95);
    dialog.close();
  });
  dialog.addEventListener('close', () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  });
}

export function startIntake() {
  dropping();
  pasting();
  choosing();
  camera();
}
