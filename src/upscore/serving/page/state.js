// What the page knows, and who wants to hear when it changes.

export const state = {
  models: [], model: '', rival: '', // the names of the model in use and of the one beside it
  limits: { bytes: Infinity, pixels: Infinity },
  corrections: { folder: null, photos: 0 },
  tuning: { available: false, reason: null },
  photos: [], photo: null,
  view: 'labels', opacity: 50, alone: '', // alone: the name of the one class that is shown
  tool: 'look', brush: 24, paint: 0,
};
const watchers = [];

// Call `render` now and whenever one of the named values changes.
export function watch(names, render) {
  watchers.push({ names, render });
  render();
}

export function update(changes) {
  const names = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  Object.assign(state, changes);
  changed(...names);
}

// Say that something inside these values has changed.
export function changed(...names) {
  for (const watcher of watchers) {
    if (names.some((name) => watcher.names.includes(name))) watcher.render();
  }
}

const VOID = { id: 255, name: 'unknown', color: '#e0e0c0' };

export const modelOf = (name) => state.models.find((model) => model.name === name);

// The class of an id in a model; 255 is unknown in all of them.
export const classOf = (name, id) => modelOf(name)?.classes.find((c) => c.id === id)
  ?? (id === 255 ? VOID : { id, name: `class ${id}`, color: '#808080' });

export const classesOf = (name) => [...(modelOf(name)?.classes ?? []), VOID];
