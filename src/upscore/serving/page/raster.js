// Shapes as rows of pixels. Each calls span(y, from, to) for the pixels from <= x < to of row y.

// All pixels whose centre is within `radius` of the line from a to b; at least the one under a.
export function stroke([ax, ay], [bx, by], radius, { width, height }, span) {
  const reach = Math.max(radius, 0.5);
  const first = Math.max(0, Math.floor(Math.min(ay, by) - reach));
  const last = Math.min(height - 1, Math.floor(Math.max(ay, by) + reach));
  const [dx, dy] = [bx - ax, by - ay];
  const length = Math.hypot(dx, dy);
  for (let y = first; y <= last; y += 1) {
    let [from, to] = [Infinity, -Infinity];
    const take = (low, high) => { from = Math.min(from, low); to = Math.max(to, high); };
    for (const [cx, cy] of [[ax, ay], [bx, by]]) {
      const half = Math.sqrt(reach ** 2 - (y + 0.5 - cy) ** 2);
      if (half >= 0) take(cx - half, cx + half);
    }
    if (length > 0) band([ax, ay], [dx / length, dy / length], length, reach, y + 0.5, take);
    if (to < from) continue;
    const under = Math.floor((from + to) / 2); // a thin brush may miss all centres: it takes this pixel
    const [low, high] = [Math.ceil(from - 0.5), Math.floor(to - 0.5) + 1];
    const [start, end] = [Math.max(0, Math.min(low, under)), Math.min(width, Math.max(high, under + 1))];
    if (start < end) span(y, start, end);
  }
}

// Where a row crosses the straight part of a stroke, a rectangle: take(low, high).
function band([ax, ay], [ux, uy], length, reach, y, take) {
  const corners = [[0, -reach], [length, -reach], [length, reach], [0, reach]]
    .map(([along, across]) => [ax + ux * along - uy * across, ay + uy * along + ux * across]);
  const xs = crossings(corners, y);
  if (xs.length) take(Math.min(...xs), Math.max(...xs));
}

function crossings(points, y) {
  const xs = [];
  points.forEach(([ax, ay], i) => {
    const [bx, by] = points[(i + 1) % points.length];
    if ((ay <= y) !== (by <= y)) xs.push(ax + ((y - ay) / (by - ay)) * (bx - ax));
  });
  return xs.sort((a, b) => a - b);
}

// The pixels whose centres are inside a polygon; where it overlaps itself, those inside an odd number of times.
export function polygon(points, { width, height }, span) {
  const ys = points.map(([, y]) => y);
  const last = Math.min(height - 1, Math.floor(Math.max(...ys)));
  for (let y = Math.max(0, Math.floor(Math.min(...ys))); y <= last; y += 1) {
    const xs = crossings(points, y + 0.5);
    for (let i = 0; i + 1 < xs.length; i += 2) {
      const [from, to] = [Math.max(0, Math.ceil(xs[i] - 0.5)), Math.min(width, Math.ceil(xs[i + 1] - 0.5))];
      if (from < to) span(y, from, to);
    }
  }
}

// The region around a pixel: all that share its label and a side with one of the region. `span` must
// change the labels it is given, or this never ends.
export function flood(labels, [x, y], { width, height }, span) {
  const old = labels[y * width + x];
  const seeds = [[x, y]];
  while (seeds.length) {
    const [sx, sy] = seeds.pop();
    const row = sy * width;
    if (labels[row + sx] !== old) continue;
    let [from, to] = [sx, sx + 1];
    while (from > 0 && labels[row + from - 1] === old) from -= 1;
    while (to < width && labels[row + to] === old) to += 1;
    span(sy, from, to);
    for (const other of [sy - 1, sy + 1]) {
      if (other < 0 || other >= height) continue;
      for (let at = from; at < to; at += 1) {
        const starts = labels[other * width + at] === old
          && (at === from || labels[other * width + at - 1] !== old);
        if (starts) seeds.push([at, other]);
      }
    }
  }
}
