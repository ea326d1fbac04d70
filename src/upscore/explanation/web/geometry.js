// upscore/geometry/ for this page: readers and writers of the four conventions for one axis.
// An axis is {size_in, kernel, stride, dilation, begin, end}; begin and end are cut from the full output.

export const extent = (a) => (a.kernel - 1) * a.dilation + 1;
export const full = (a) => (a.size_in - 1) * a.stride + extent(a);
export const sizeOut = (a) => full(a) - a.begin - a.end;

function whole(name, value, least = 0) {
  if (!Number.isInteger(value)) throw new RangeError(`${name} must be a whole number`);
  if (value < least) throw new RangeError(`${name} must be at least ${least}, not ${value}`);
  return value;
}

function checked(a) {
  for (const name of ['size_in', 'kernel', 'stride', 'dilation']) whole(name, a[name], 1);
  whole('padding at the beginning', a.begin);
  if (sizeOut(a) < 1) {
    throw new RangeError(`cutting ${a.begin} and ${a.end} pixels from the ends of a full output of ${full(a)} `
      + `leaves nothing: cut at most ${full(a) - 1} in all`);
  }
  return a;
}

function axisOf({ size_in, kernel, stride, dilation }) {
  return checked({ size_in, kernel, stride, dilation, begin: 0, end: 0 });
}

function cut(a, begin, size, least, most) {
  if (whole('the output\'s size', size) < least || size > most) {
    const sizes = least <= most ? `${least} to ${most}` : 'none';
    throw new RangeError(`no output of ${size} pixels from ${a.size_in} with kernel ${a.kernel}, stride ${a.stride}, `
      + `dilation ${a.dilation} and ${begin} pixels cut from the beginning: possible sizes are ${sizes}`);
  }
  return checked({ ...a, begin, end: full(a) - begin - size });
}

function padded(given, begin, end, output_padding, output_size = null) {
  const a = axisOf(given);
  const least = full(a) - whole('padding', begin) - whole('padding', end);
  if (output_size !== null) return cut(a, begin, output_size, Math.max(least, 1), least + a.stride - 1);
  const most = Math.max(a.stride, a.dilation) - 1;
  if (whole('output_padding', output_padding) > most) {
    throw new RangeError(
      `output_padding must be below the stride or the dilation, so at most ${most}, not ${output_padding}`);
  }
  return checked({ ...a, begin, end: end - output_padding });
}

function tensorflow(given) {
  const a = axisOf(given);
  if (given.padding === 'VALID') return padded(given, 0, 0, 0, given.output_size);
  const size = given.output_size ?? a.size_in * a.stride;
  const begin = Math.floor(Math.max(full(a) - size, 0) / 2);
  return cut(a, begin, size, (a.size_in - 1) * a.stride + 1, a.size_in * a.stride);
}

function caffe(given) {
  const a = padded(given, given.pad, given.pad, 0);
  const most = sizeOut(a) - whole('offset', given.offset);
  return cut(a, given.pad + given.offset, given.crop_size ?? most, 1, most);
}

function onnx(given) {
  const a = padded(given, 0, 0, given.output_padding);
  const same = given.auto_pad.startsWith('SAME');
  const shape = given.output_shape ?? (same ? Math.min(a.size_in * a.stride, sizeOut(a)) : null);
  if (shape === null) {
    const none = given.auto_pad === 'VALID';
    return padded(given, none ? 0 : given.begin, none ? 0 : given.end, given.output_padding);
  }
  const total = Math.max(sizeOut(a) - shape, 0);
  const begin = given.auto_pad === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2);
  return cut(axisOf(given), begin, shape, 1, full(a) + a.stride - 1);
}

export const READERS = {
  pytorch: (given) => padded(given, given.padding, given.padding, given.output_padding, given.output_size),
  tensorflow,
  caffe,
  onnx,
};

function toPytorch(a) {
  let [padding, output_padding] = [a.begin, a.begin - a.end];
  if (!(output_padding >= 0 && output_padding < Math.max(a.stride, a.dilation))) {
    [padding, output_padding] = [Math.max(Math.min(a.begin, a.end), 0), Math.max(-a.end, 0)];
  }
  const first = a.begin - padding;
  const made = full(a) - 2 * padding + output_padding;
  return `padding=${padding}, output_padding=${output_padding}${
    first || made !== sizeOut(a) ? `, then [${first}:${first + sizeOut(a)}]` : ''}`;
}

function toTensorflow(a) {
  if (a.end <= -a.stride) {
    throw new RangeError(`TensorFlow cannot append ${-a.end} pixels of zeros with stride ${a.stride}: an output `
      + `of at most ${full(a) - a.begin + a.stride - 1} pixels is possible`);
  }
  const even = a.begin === Math.floor(Math.max(full(a) - sizeOut(a), 0) / 2);
  const left = a.size_in * a.stride - sizeOut(a);
  let padding = `(${a.begin}, ${Math.max(a.end, 0)})`;
  if (even && left >= 0 && left < a.stride) padding = '"SAME"';
  else if (a.begin === 0 && a.end <= 0) padding = '"VALID"';
  return `padding=${padding}, output_size=${sizeOut(a)}`;
}

function toCaffe(a) {
  if (a.end < 0) {
    throw new RangeError(`Caffe cannot append the ${-a.end} pixels of zeros in an output of ${sizeOut(a)}: `
      + `at most ${full(a) - a.begin} pixels are possible`);
  }
  const pad = Math.min(a.begin, a.end);
  return `pad=${pad}, crop offset=${a.begin - pad}, crop size=${sizeOut(a)}`;
}

const toOnnx = (a) => `pads=(${a.begin}, ${Math.max(a.end, 0)}), output_padding=${Math.max(-a.end, 0)}`;

export const WRITERS = { pytorch: toPytorch, tensorflow: toTensorflow, caffe: toCaffe, onnx: toOnnx };

// The input position output pixel o is centred on, and how far (in output pixels) the content lies
// too far towards the end compared with half-pixel resizing, or with corners aligned.
export const position = (a, o) => (o + a.begin - (extent(a) - 1) / 2) / a.stride;
export const shift = (a, corners = false) => (extent(a) - 1) / 2 - a.begin - (corners ? 0 : (a.stride - 1) / 2);
