// Calls to the server. What goes wrong comes back as a Problem whose message is fit to be shown.

import { askForToken, authorization } from './token.js';

const TRIES = 20; // how often a busy server is asked again

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const pause = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });

async function problemOf(response) {
  try {
    const { detail, title } = await response.json();
    return new Problem(response.status, detail || title);
  } catch { // not a problem document: something between the page and the server answered
    return new Problem(response.status, `The server answered ${response.status} ${response.statusText}.`);
  }
}

// Ask until the server has an answer; `onwait` hears for how many seconds a busy one wants us to wait.
async function call(path, { onwait, ...options } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...options.headers, ...authorization() } });
    } catch {
      throw new Problem(0, 'The server does not answer. Is “upscore serve” still running?');
    }
    if (response.ok) return response.json();
    if (response.status === 401 && await askForToken()) continue;
    const seconds = Number(response.headers.get('Retry-After'));
    if (!seconds || attempt === TRIES) throw await problemOf(response);
    onwait?.(seconds);
    await pause(seconds);
  }
}

const query = (values) => new URLSearchParams(values).toString();

export const models = () => call('v1/models');

export const segment = (file, model, onwait) => call(
  `v1/segment?${query({ model, format: 'json', confidence: true })}`,
  { method: 'POST', body: file, headers: { 'Content-Type': file.type || 'application/octet-stream' }, onwait },
);

export function correct(file, labels, model) {
  const body = new FormData();
  body.append('photo', file, file.name);
  body.append('labels', labels, 'labels.png');
  return call(`v1/corrections?${query({ model })}`, { method: 'POST', body });
}

export const tuning = () => call('v1/tuning');

export const startTuning = (model, time) => call(`v1/tuning?${query({ model, time })}`, { method: 'POST' });

export const stopTuning = () => call('v1/tuning', { method: 'DELETE' });
