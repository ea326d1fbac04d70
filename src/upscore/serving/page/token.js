// The token of a server that others can reach: it comes in the address and is kept for this tab.

import { find } from './dom.js';

const KEY = 'upscore-token';

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!given) return;
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, '', location.pathname); // so that it is not shown, bookmarked or sent on
}

fromAddress();

export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

let asking = null; // several calls may need it at once; one question is enough

export function askForToken() {
  asking ??= new Promise((answered) => {
    const dialog = find('#token');
    const input = find('input', dialog);
    input.value = '';
    dialog.addEventListener('close', () => {
      asking = null;
      if (input.value) sessionStorage.setItem(KEY, input.value.trim());
      answered(Boolean(input.value));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
