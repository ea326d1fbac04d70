// Wire the chapters to their sections. Each chapter is one file and one function of its section.

import { bilinearChapter } from './bilinear.js';
import { convolutionChapter } from './convolution.js';
import { networkChapter } from './network.js';
import { planeChapter } from './plane.js';
import { settingBar } from './setting.js';
import { sizesChapter } from './sizes.js';
import { fragment, readFragment, state, update } from './state.js';
import { subKernelsChapter } from './subkernels.js';
import { transposeChapter } from './transpose.js';
import { find, watchScrolling } from './ui.js';
import { viewsChapter } from './views.js';
import { whyChapter } from './why.js';
import { zerosChapter } from './zeros.js';

readFragment();
settingBar(find('#lab'));
whyChapter(find('#why'));
convolutionChapter(find('#convolution'));
transposeChapter(find('#transpose'));
subKernelsChapter(find('#subkernels'));
zerosChapter(find('#zeros'));
viewsChapter(find('#views'));
planeChapter(find('#plane'));
bilinearChapter(find('#bilinear'));
sizesChapter(find('#sizes'));
networkChapter(find('#network'));
watchScrolling();

function show(id) {
  const section = document.getElementById(id);
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  section?.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
  section?.querySelector('h2')?.focus({ preventScroll: true });
}

// A link inside the page moves the reader and keeps the setting; only "reset" clears it.
document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || link.classList.contains('reset')) return;
  event.preventDefault();
  update({ chapter: link.hash.slice(1) });
  show(state.chapter);
});
addEventListener('hashchange', () => { readFragment(); show(state.chapter); });
if (state.chapter) document.getElementById(state.chapter)?.scrollIntoView();

find('#share').addEventListener('click', async ({ currentTarget: button }) => {
  const link = `${location.href.split('#')[0]}${fragment()}`;
  try {
    await navigator.clipboard.writeText(link);
    button.textContent = 'Link copied';
  } catch { // no clipboard permission: the address bar holds the same link
    prompt('This setting as a link:', link);
  }
  setTimeout(() => { button.textContent = 'Copy a link to this setting'; }, 2000);
});
document.documentElement.dataset.ready = String(performance.now());
