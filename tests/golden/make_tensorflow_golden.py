"""Make the golden arrays `tensorflow_*.npz` with real TensorFlow.

TensorFlow is no dependency of this project, so it gets a virtual environment of its own:

    python -m venv /tmp/tensorflow
    /tmp/tensorflow/bin/pip install tensorflow-cpu==2.21.0
    /tmp/tensorflow/bin/python tests/golden/make_tensorflow_golden.py

Three files are written beside this script:

tensorflow_tutorial.npz  the tutorial's filters and layers, for each factor
tensorflow_conv.npz      plain conv2d_transpose, on small integers, which float32 holds exactly
tensorflow_keras.npz     keras.layers.Conv1DTranspose likewise
"""

# ruff: noqa: SIM108, RET504 - the tutorial's code stays as it was published.

import itertools
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf2

tf = tf2.compat.v1
HERE = Path(__file__).parent
FACTORS = (1, 2, 3, 4, 5, 6, 7, 8, 16)


# The two functions of "Image Segmentation with TensorFlow", Daniil Pakhomov, 2016, as published.


def get_bilinear_filter(filter_shape, upscale_factor):
    ##filter_shape is [width, height, num_in_channels, num_out_channels]
    kernel_size = filter_shape[1]
    ### Centre location of the filter for which value is calculated
    if kernel_size % 2 == 1:
        centre_location = upscale_factor - 1
    else:
        centre_location = upscale_factor - 0.5

    bilinear = np.zeros([filter_shape[0], filter_shape[1]])
    for x in range(filter_shape[0]):
        for y in range(filter_shape[1]):
            ##Interpolation Calculation
            value = (1 - abs((x - centre_location) / upscale_factor)) * (
                1 - abs((y - centre_location) / upscale_factor)
            )
            bilinear[x, y] = value
    weights = np.zeros(filter_shape)
    for i in range(filter_shape[2]):
        weights[:, :, i, i] = bilinear
    init = tf.constant_initializer(value=weights, dtype=tf.float32)

    bilinear_weights = tf.get_variable(
        name="decon_bilinear_filter", initializer=init, shape=weights.shape
    )
    return bilinear_weights


def upsample_layer(bottom, n_channels, name, upscale_factor):
    kernel_size = 2 * upscale_factor - upscale_factor % 2
    stride = upscale_factor
    strides = [1, stride, stride, 1]
    with tf.variable_scope(name):
        # Shape of the bottom tensor
        in_shape = tf.shape(bottom)

        h = ((in_shape[1] - 1) * stride) + 1
        w = ((in_shape[2] - 1) * stride) + 1
        new_shape = [in_shape[0], h, w, n_channels]
        output_shape = tf.stack(new_shape)

        filter_shape = [kernel_size, kernel_size, n_channels, n_channels]

        weights = get_bilinear_filter(filter_shape, upscale_factor)
        deconv = tf.nn.conv2d_transpose(
            bottom, weights, output_shape, strides=strides, padding="SAME"
        )
    return deconv


def run(make):
    """Run the graph that `make` builds."""
    with tf.Graph().as_default(), tf.Session() as session:
        result = make()
        session.run(tf.global_variables_initializer())
        return session.run(result)


def save(name, arrays):
    np.savez_compressed(HERE / name, **arrays)
    print(f"{name}: {len(arrays)} arrays, {(HERE / name).stat().st_size} bytes")


def tutorial():
    arrays = {"bottom": np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype(np.float32)}
    for f in FACTORS:
        k = 2 * f - f % 2
        arrays[f"filter_{f}"] = run(lambda k=k, f=f: get_bilinear_filter([k, k, 2, 2], f))
        arrays[f"layer_{f}"] = run(
            lambda f=f: upsample_layer(tf.constant(arrays["bottom"]), 2, f"up{f}", f)
        )
    # Not square, fewer inputs than outputs, kernels that do not belong to the factor.
    for shape, f in [((4, 6, 1, 2), 2), ((5, 3, 2, 2), 3), ((3, 4, 2, 3), 2)]:
        name = "filter_" + "x".join(map(str, shape)) + f"_{f}"
        arrays[name] = run(lambda shape=shape, f=f: get_bilinear_filter(list(shape), f))
    save("tensorflow_tutorial.npz", arrays)


def conv():
    """Every kernel of 1 to 5 by stride 1 to 4; the other axis has other numbers of each."""
    random = np.random.default_rng(0)
    value = random.integers(-9, 10, (1, 3, 4, 2)).astype(np.float32)
    filters = random.integers(-9, 10, (5, 5, 3, 2)).astype(np.float32)
    arrays, cases = {"value": value, "filters": filters}, []

    def add(kernel, stride, padding, size):
        pads = padding if isinstance(padding, str) else [[0, 0], *padding, [0, 0]]
        arrays[f"y_{len(cases)}"] = tf2.nn.conv2d_transpose(
            value, filters[: kernel[0], : kernel[1]], [1, *size, 3], [1, *stride, 1], pads
        )
        cases.append([kernel, stride, padding, size])

    for k, s in itertools.product(range(1, 6), range(1, 5)):
        kernel, stride = (k, k % 5 + 1), (s, s % 4 + 1)
        full = [(n - 1) * s + k for n, s, k in zip((3, 4), stride, kernel, strict=True)]
        for less in sorted({0, s // 2, s - 1}):  # each way to fall short of n * s
            other = less % stride[1]
            add(kernel, stride, "SAME", (3 * s - less, 4 * stride[1] - other))
            add(kernel, stride, "VALID", (full[0] + less, full[1] + other))
        pads = ((k // 2, (k - 1) // 2), (0, kernel[1] - 1))
        add(kernel, stride, pads, [f - sum(p) for f, p in zip(full, pads, strict=True)])
    save("tensorflow_conv.npz", arrays | {"cases": np.array(json.dumps(cases))})


def keras_layers():
    """Every layer that Keras accepts; what TensorFlow then refuses is noted as of size 0."""
    random = np.random.default_rng(0)
    value = random.integers(-9, 10, (1, 4, 1)).astype(np.float32)
    filters = random.integers(-9, 10, (5, 1, 1)).astype(np.float32)
    arrays, cases = {"value": value, "filters": filters}, []
    grid = itertools.product(range(1, 6), range(1, 5), ("same", "valid"), (None, 0, 1, 2), (1, 2))
    for k, s, padding, output_padding, dilation in grid:
        if (output_padding or 0) >= s or (s > 1 and dilation > 1):
            continue  # refused by Keras
        layer = keras.layers.Conv1DTranspose(
            1, k, s, padding, output_padding=output_padding, dilation_rate=dilation, use_bias=False
        )
        layer.build(value.shape)
        layer.set_weights([filters[:k]])
        try:
            y = layer(value)
        except (tf2.errors.InvalidArgumentError, tf2.errors.AbortedError):
            y = np.zeros((1, 0, 1), np.float32)
        arrays[f"y_{len(cases)}"] = y
        cases.append([k, s, padding, output_padding, dilation])
    save("tensorflow_keras.npz", arrays | {"cases": np.array(json.dumps(cases))})


if __name__ == "__main__":
    tutorial()
    conv()
    keras_layers()
