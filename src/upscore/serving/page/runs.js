// COCO's compressed run lengths: how the server sends which pixels a class has.

// Text -> lengths of runs, of 0 and 1 in turn. Five bits a character; from the fourth run on each is
// the difference from the one two before it.
export function runLengths(text) {
  const lengths = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    for (let shift = 0, more = true; more; shift += 5, at += 1) {
      const code = text.charCodeAt(at) - 48;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << (shift + 5); // a negative difference
    }
    if (lengths.length > 2) value += lengths[lengths.length - 2];
    lengths.push(value);
  }
  return lengths;
}

// Write `id` where the runs are 1. They go down the columns, the label map along the rows.
function draw(labels, id, lengths, height, width) {
  let [x, y] = [0, 0];
  lengths.forEach((length, i) => {
    if (i % 2 === 0) {
      y += length;
      x += Math.floor(y / height);
      y %= height;
      return;
    }
    for (let left = length; left > 0;) {
      const end = Math.min(height, y + left);
      left -= end - y;
      for (let at = y * width + x; y < end; y += 1, at += width) labels[at] = id;
      if (y === height) { y = 0; x += 1; }
    }
  });
}

// The label map of an answer; a pixel that no class has is unknown.
export function labelMap({ width, height, classes }) {
  const labels = new Uint8Array(width * height).fill(255);
  for (const { id, segmentation } of classes) {
    draw(labels, id, runLengths(segmentation.counts), height, width);
  }
  return labels;
}
