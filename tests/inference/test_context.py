"""What global poolings find can be shown and given back, by every engine, and is found once."""

import numpy as np
import onnx
import pytest
import torch
from pictures import double, picture

import tiny
import upscore
from upscore.inference import context
from upscore.inference.context import context_of
from upscore.inference.engines import ENGINES
from upscore.inference.shown import Held, Shown
from upscore.models.checkpoint import read_checkpoint
from upscore.models.graph_check import check_external_data
from upscore.models.graph_cut import cut

pytestmark = pytest.mark.slow

ENCODER, POOLINGS = "mobilenetv3_small_050", 10  # a gate, and squeeze-and-excitation


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    spec = tiny.spec("fcn16s", encoder=ENCODER, width=8)
    return tiny.saved(tmp_path_factory.mktemp("model"), spec)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_given_its_own_poolings_is_itself(saved, engine):
    model = upscore.load(saved, engine)
    photo, other = (picture(96, 128, seed)[None] for seed in (0, 1))
    found = model.pooled(photo)
    assert len(found) == POOLINGS
    alone = np.asarray(model.scores(photo))
    np.testing.assert_allclose(np.asarray(model.seen(photo, (), found)), alone, atol=1e-5)
    strange = np.asarray(model.seen(photo, (), model.pooled(other // 3)))
    assert np.abs(strange - alone).max() > 1e-4
    # Mirror images too.
    flipped = model.pooled(photo, (2,))
    np.testing.assert_allclose(
        np.asarray(model.seen(photo, (2,), flipped)), np.asarray(model.seen(photo, (2,))), atol=1e-5
    )


def test_engines_agree_about_what_is_given(saved):
    photo, other = (picture(96, 128, seed)[None] for seed in (0, 1))
    given = [
        np.asarray(model.seen(photo, (), model.pooled(other)))
        for model in (upscore.load(saved, engine) for engine in ENGINES)
    ]
    for scores in given[1:]:
        np.testing.assert_allclose(scores, given[0], rtol=1e-3, atol=1e-4)


def test_cut_graphs_read_nothing_else_than_the_graph_does(saved):
    checkpoint = read_checkpoint(saved)
    parts = cut(checkpoint.graph.read_bytes())
    assert len(parts.pools) == POOLINGS
    for graph in (parts.showing, parts.taking):
        check_external_data(graph, checkpoint.weights)
    showing, taking = map(onnx.load_from_string, (parts.showing, parts.taking))
    assert tuple(value.name for value in showing.graph.output) == parts.pools
    assert tuple(value.name for value in taking.graph.input) == ("photos", *parts.pools)
    assert len(showing.graph.node) == len(taking.graph.node) + len(parts.pools)


def test_of_a_small_picture_it_is_that_of_the_whole_and_of_a_large_one_a_mean(monkeypatch):
    model, photo = double(32), picture(300, 500)
    shown = Shown(Held(photo), 32, 1.0)
    whole = model.pooled(shown.read((0, 0, 320, 512))[None])
    for found, expected in zip(context_of(model, shown), whole, strict=True):
        torch.testing.assert_close(found, expected)
    monkeypatch.setattr(context, "WHOLE", 0)
    monkeypatch.setattr(context, "_PATCH", 96)
    patches = [
        model.pooled(shown.read((y, x, 96, 96))[None])
        for y in (0, 128, 224)
        for x in (0, 96, 192, 320, 416)
    ]
    for found, *expected in zip(context_of(model, shown), *patches, strict=True):
        torch.testing.assert_close(found, torch.stack(expected).mean(0))
    mirrored = context_of(model, shown, (2,))
    assert all(
        bool((a != b).any()) for a, b in zip(mirrored, context_of(model, shown), strict=True)
    )
