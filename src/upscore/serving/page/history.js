// A label map that is being corrected: changes go through it, and can be taken back.
//
// A step keeps the old labels of the 64 x 64 tiles it touches, and no more; taking a step back swaps
// them with the labels in place, which makes it the step that brings the change back.

const SIDE = 64;
const MOST = 64 * 2 ** 20; // bytes of old labels; beyond, the oldest steps can no longer be taken back

export class Edit {
  constructor(labels, { width, height }) {
    Object.assign(this, { labels, width, height });
    this.done = [];
    this.undone = [];
    this.step = null;
    this.saved = null; // what now() was when the labels were saved
    this.forgotten = false; // whether the beginning can no longer be reached
  }

  // What the labels are now: the last step, null for the model's answer, or the oldest that is known.
  now() {
    return this.done.at(-1) ?? (this.forgotten ? 'oldest' : null);
  }

  unsaved() {
    return this.now() !== this.saved;
  }

  begin() {
    this.step = { tiles: new Map(), size: 0 };
  }

  // Give the pixels from <= x < to of row y a label.
  fill(y, from, to, id) {
    const down = Math.floor(y / SIDE);
    for (let along = Math.floor(from / SIDE); along <= Math.floor((to - 1) / SIDE); along += 1) this.keep(along, down);
    this.labels.fill(id, y * this.width + from, y * this.width + to);
  }

  keep(along, down) {
    const key = `${along} ${down}`;
    if (this.step.tiles.has(key)) return;
    const tile = this.read(along, down);
    this.step.tiles.set(key, { along, down, tile });
    this.step.size += tile.length;
  }

  // The rows of a tile as [start, end) in the label map.
  * rows(along, down) {
    const [left, right] = [along * SIDE, Math.min((along + 1) * SIDE, this.width)];
    for (let y = down * SIDE; y < Math.min((down + 1) * SIDE, this.height); y += 1) {
      yield [y * this.width + left, y * this.width + right];
    }
  }

  read(along, down) {
    const rows = [...this.rows(along, down)];
    const wide = rows[0][1] - rows[0][0];
    const tile = new Uint8Array(rows.length * wide);
    rows.forEach(([start, end], i) => tile.set(this.labels.subarray(start, end), i * wide));
    return tile;
  }

  commit() {
    const { step } = this;
    this.step = null;
    const changes = [...step.tiles.values()].some(({ along, down, tile }) => {
      const now = this.read(along, down);
      return tile.some((label, i) => label !== now[i]);
    });
    if (!changes) return;
    this.done.push(step);
    this.undone = [];
    let size = this.done.reduce((sum, one) => sum + one.size, 0);
    while (size > MOST && this.done.length > 1) {
      size -= this.done.shift().size;
      this.forgotten = true;
    }
  }

  // Take back what the step under way has changed, as if it had not begun.
  cancel() {
    this.swap(this.step);
    this.step = null;
  }

  swap(step) {
    for (const one of step.tiles.values()) {
      const now = this.read(one.along, one.down);
      let at = 0;
      for (const [start, end] of this.rows(one.along, one.down)) {
        this.labels.set(one.tile.subarray(at, at += end - start), start);
      }
      one.tile = now;
    }
  }

  undo() {
    const step = this.done.pop();
    this.swap(step);
    this.undone.push(step);
  }

  redo() {
    const step = this.undone.pop();
    this.swap(step);
    this.done.push(step);
  }
}
