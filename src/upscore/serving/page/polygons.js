// The regions of a label map as polygons along the edges of their pixels.

import { flood } from './raster.js';

// Regions: pixels that share a label and are joined by their sides. Returns the number of each pixel's
// region, and of each region its label and its pixels.
function regionsOf(labels, size) {
  const numbers = new Int32Array(labels); // less than 0 until its region has a number
  for (let at = 0; at < numbers.length; at += 1) numbers[at] = -1 - numbers[at];
  const regions = [];
  for (let start = 0; start < labels.length; start += 1) {
    if (numbers[start] >= 0) continue;
    const region = { id: labels[start], pixels: 0, rings: [] };
    const number = regions.push(region) - 1;
    const row = Math.floor(start / size.width);
    flood(numbers, [start - row * size.width, row], size, (y, from, to) => {
      numbers.fill(number, y * size.width + from, y * size.width + to);
      region.pixels += to - from;
    });
  }
  return { numbers, regions };
}

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // east, south, west, north
const AHEAD_RIGHT = [[0, 0], [-1, 0], [-1, -1], [0, -1]]; // the pixel beside a corner, by direction

// Walk around a region with it on the right, from the upper left corner of pixel (x, y), to the east.
// Marks the upper edges it goes along.
function ring(x, y, inside, mark) {
  const corners = [];
  const [startX, startY] = [x, y];
  let direction = 0;
  do {
    if (direction === 0) mark(x, y);
    x += STEPS[direction][0];
    y += STEPS[direction][1];
    const beside = (turn) => {
      const [dx, dy] = AHEAD_RIGHT[(direction + turn) % 4];
      return inside(x + dx, y + dy);
    };
    // Where regions touch in a corner alone, the walk stays with its own pixel: right before left.
    const turn = !beside(0) ? 1 : beside(3) ? 3 : 0;
    if (turn) corners.push([x, y]);
    direction = (direction + turn) % 4;
  } while (x !== startX || y !== startY || direction !== 0);
  return [corners.at(-1), ...corners]; // closed: the last corner is the first
}

// A GeoJSON FeatureCollection in pixels: x to the right, y down, (0, 0) the corner of the first pixel.
export function featureCollection(labels, size, nameOf) {
  const { width, height } = size;
  const { numbers, regions } = regionsOf(labels, size);
  const walked = new Uint8Array(labels.length);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      const number = numbers[at];
      if (walked[at] || (y > 0 && numbers[at - width] === number)) continue;
      const inside = (px, py) => px >= 0 && py >= 0 && px < width && py < height && numbers[py * width + px] === number;
      // The first ring that is met is the outer one, since the first pixel of a region lies on it.
      regions[number].rings.push(ring(x, y, inside, (mx, my) => { walked[my * width + mx] = 1; }));
    }
  }
  const features = regions.map(({ id, pixels, rings }) => ({
    type: 'Feature',
    properties: { class: nameOf(id), label: id, pixels },
    geometry: { type: 'Polygon', coordinates: rings },
  }));
  return { type: 'FeatureCollection', features };
}
