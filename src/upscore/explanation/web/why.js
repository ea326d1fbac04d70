// Chapter 1: a photo, coarse answers at four strides, and the label map made of each.

import { watch, state } from './state.js';
import { bytes, choice, find, h, parts, thousands } from './ui.js';

export function whyChapter(root) {
  const part = parts(root);
  const { height, width, classes, shown, stages } = JSON.parse(find('#photo-facts').textContent);
  part('controls').append(
    choice('coarse', 'Stride', ['32', '16', '8', '4'].map((stride) => [stride, stride])),
    choice('left', 'Left of the line',
      [['coarse', 'coarse answer'], ['score', `score of “${shown}”`], ['photo', 'photo']]));
  const divider = find('input', part('compare'));
  const cut = () => part('compare').style.setProperty('--cut', `${divider.value}%`);
  divider.addEventListener('input', cut);
  cut();

  watch(['coarse', 'left'], () => {
    const [h2, w2] = stages[state.coarse];
    for (const image of part('compare').querySelectorAll('[data-kind]')) {
      const { kind, stride } = image.dataset;
      image.hidden = !(stride === state.coarse && (kind === 'labels' || kind === state.left));
    }
    part('compare').style.setProperty('--wide', (w2 * state.coarse) / width);
    part('facts').replaceChildren(...[
      `${classes.length} classes × ${h2} × ${w2} coarse scores: ${bytes(4 * classes.length * h2 * w2)}`,
      `the same at full size, float32: ${bytes(4 * classes.length * height * width)}`,
      `the label map: ${thousands(height * width)} labels, ${bytes(height * width)}`,
    ].map((text) => h('li', {}, text)));
    divider.setAttribute('aria-valuetext', `stride ${state.coarse}: line at ${divider.value} percent`);
  });
}
