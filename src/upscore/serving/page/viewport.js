// Which part of a photo is seen, at which scale. All views share the one viewport.

const MOST = 40; // CSS pixels a pixel of the photo

// scale: CSS pixels a pixel of the photo; x, y: the place of the photo in the middle of the view.
export const viewport = { scale: 1, x: 0, y: 0, whole: true };
const size = { view: [1, 1], photo: [1, 1] };

const wholeScale = () => Math.min(size.view[0] / size.photo[0], size.view[1] / size.photo[1]);
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

export function fit() {
  Object.assign(viewport, {
    scale: Math.min(wholeScale(), MOST), x: size.photo[0] / 2, y: size.photo[1] / 2, whole: true,
  });
}

// Set the size of one view and of the photo. The whole stays the whole.
export function resize(view, photo) {
  size.view = view;
  const same = photo[0] === size.photo[0] && photo[1] === size.photo[1];
  size.photo = photo;
  if (viewport.whole || !same) fit();
  else keepInside();
}

// Some of the photo always stays in the view.
function keepInside() {
  [viewport.x, viewport.y] = [clamp(viewport.x, 0, size.photo[0]), clamp(viewport.y, 0, size.photo[1])];
}

export const toPhoto = (x, y) => [
  viewport.x + (x - size.view[0] / 2) / viewport.scale, viewport.y + (y - size.view[1] / 2) / viewport.scale];
export const toView = (x, y) => [
  size.view[0] / 2 + (x - viewport.x) * viewport.scale, size.view[1] / 2 + (y - viewport.y) * viewport.scale];

// Move by CSS pixels.
export function pan(dx, dy) {
  viewport.x -= dx / viewport.scale;
  viewport.y -= dy / viewport.scale;
  viewport.whole = false;
  keepInside();
}

// Zoom about a place of the view, which keeps its pixel; without one, about the middle.
export function zoom(factor, x = size.view[0] / 2, y = size.view[1] / 2) {
  const [px, py] = toPhoto(x, y);
  const least = Math.min(wholeScale(), 1);
  const scale = clamp(viewport.scale * factor, least, MOST);
  if (scale === least && least < 1) { // there is nothing to see beyond the whole
    fit();
    return;
  }
  viewport.scale = scale;
  viewport.x = px - (x - size.view[0] / 2) / scale;
  viewport.y = py - (y - size.view[1] / 2) / scale;
  viewport.whole = false;
  keepInside();
}

// Bring a place of the photo into the view, with a margin of CSS pixels.
export function reveal(x, y, margin = 30) {
  const [vx, vy] = toView(x, y);
  pan(Math.max(margin - vx, 0) - Math.max(vx - size.view[0] + margin, 0),
    Math.max(margin - vy, 0) - Math.max(vy - size.view[1] + margin, 0));
}
