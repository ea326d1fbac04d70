// Fine-tuning of the model in use by the corrected photos, in the background of the server.

import { models, startTuning, stopTuning, tuning } from './api.js';
import { button, find, h, on, plural, s, say } from './dom.js';
import { again, editOf } from './photos.js';
import { state, update, watch } from './state.js';

const EVERY = 1500; // milliseconds between two looks at a training that runs
const RUNNING = ['training', 'comparing'];
const [WIDTH, HEIGHT, EDGE] = [300, 84, 6];
let report = { state: 'idle' };
let timer = 0;

const isRunning = () => RUNNING.includes(report.state);
const round = (value) => Number(value.toFixed(3));

// One value over the steps as a line; points are pairs of step and value.
function curve(name, points) {
  const values = points.map(([, value]) => value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const steps = Math.max(points.at(-1)[0], 1);
  const x = (step) => EDGE + ((WIDTH - 2 * EDGE) * step) / steps;
  const part = (value) => (most > least ? (value - least) / (most - least) : 0.5);
  const y = (value) => HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * part(value);
  const line = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const [lastStep, lastValue] = points.at(-1);
  const words = `${name}: from ${round(values[0])} to ${round(lastValue)} in ${plural(lastStep, 'step')}`;
  return h('figure', {},
    h('figcaption', {}, h('span', {}, name), h('strong', {}, String(round(lastValue)))),
    s('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': words },
      s('polyline', { points: line }), s('circle', { cx: x(lastStep), cy: y(lastValue), r: 3 })));
}

function showCurves() {
  const named = [['Loss', 'loss'], ['Mean IoU on the validation photos', 'mean_iou']];
  find('#curves').replaceChildren(...named.flatMap(([name, key]) => {
    const points = (report.curve ?? []).filter((one) => Number.isFinite(one[key])).map((one) => [one.step, one[key]]);
    return points.length ? [curve(name, points)] : [];
  }));
}

function words() {
  if (!state.tuning.available) return state.tuning.reason ?? 'Training is not available on this server.';
  if (report.state === 'training') {
    return report.step ? `Training, step ${report.step}${report.steps ? ` of ${report.steps}` : ''}.` : 'Training is getting ready.';
  }
  if (report.state === 'comparing') return 'Comparing the new model with the one in use.';
  if (report.message) return `${report.message[0].toUpperCase()}${report.message.slice(1)}.`;
  const { photos } = state.corrections;
  const { photos: fewest } = state.tuning;
  if (photos < fewest) return `Correct and save ${plural(fewest, 'photo')} or more; then the model can learn from them. There ${photos === 1 ? 'is' : 'are'} ${photos} now.`;
  return `It learns from ${plural(photos, 'corrected photo')} while you go on, and takes the model’s place if it is better on photos kept for validation.`;
}

function show() {
  const ready = state.tuning.available && state.corrections.photos >= state.tuning.photos;
  const running = isRunning();
  find('#tuning-text').textContent = words();
  find('#tuning-text').dataset.kind = report.state === 'failed' ? 'error' : '';
  button('tune').disabled = !ready || running;
  button('tune').hidden = running;
  button('stop').hidden = !running;
  find('#time').closest('label').hidden = running;
  find('#log').hidden = !report.log;
  find('#log pre').textContent = report.log ?? '';
}

function take(now) {
  const [before, grown] = [report, (now.curve ?? []).length !== (report.curve ?? []).length];
  report = now;
  show();
  if (grown || before.state !== now.state) showCurves();
  const ended = RUNNING.includes(before.state) && !isRunning();
  if (ended) finish();
  clearTimeout(timer);
  if (isRunning()) timer = setTimeout(look, EVERY);
}

async function look() {
  try {
    take(await tuning());
  } catch (error) {
    say(error.message, 'error');
    if (isRunning()) timer = setTimeout(look, 4 * EVERY);
  }
}

// A new model serves: its labels take the place of those that nobody has corrected.
async function finish() {
  say(words(), report.state === 'failed' ? 'error' : 'done');
  if (!report.swapped) return;
  try {
    update({ models: (await models()).models });
  } catch (error) {
    say(error.message, 'error');
  }
  for (const photo of state.photos) if (!editOf(photo, report.model)) again(photo, report.model);
}

const attempt = (ask) => async () => {
  try {
    take(await ask());
    if (!isRunning()) look();
  } catch (error) {
    say(error.message, 'error');
  }
};

export function startTraining() {
  on('tune', attempt(() => startTuning(state.model, find('#time').value)));
  on('stop', attempt(stopTuning));
  watch(['tuning', 'corrections'], show);
  look();
}
