"""Frozen normalisation within convolutions: the same values and gradients, for any encoder."""

import copy

import pytest
import torch
from torch import nn

from upscore import models
from upscore.models.folding import fold_norms

# How many normalisations follow a convolution; convnext has none.
ENCODERS = {
    "tf_efficientnet_lite0": 48,
    "test_efficientnet": None,
    "resnet18": 20,
    "resnet18d": None,
    "mobilenetv3_small_050": None,
    "regnetx_002": None,
    "densenet121": None,  # normalises before it convolves, mostly
    "convnext_atto": 0,
}


def shaken(name):
    """A network whose normalisation does something, in evaluation mode."""
    torch.manual_seed(0)
    network = models.build("fcn4s", 3, encoder=name, width=8).double().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return network


@pytest.mark.parametrize("name", ENCODERS)
def test_values_and_gradients_are_those_of_the_normalisation(name):
    network = shaken(name)
    folded = copy.deepcopy(network)
    count = fold_norms(folded.encoder.network)
    assert count == ENCODERS[name] or (ENCODERS[name] is None and count > 0)
    assert list(folded.state_dict()) == list(network.state_dict())
    photos = torch.randn(2, 3, 75, 90, dtype=torch.float64)
    outputs = [model(photos) for model in (network, folded, copy.deepcopy(folded))]
    for found in outputs[1:]:
        torch.testing.assert_close(found, outputs[0], rtol=1e-8, atol=1e-10)
    for scores in outputs[:2]:
        scores.square().sum().backward()
    for (key, one), other in zip(network.named_parameters(), folded.parameters(), strict=True):
        if one.grad is not None:
            scale = one.grad.abs().max()
            assert (one.grad - other.grad).abs().max() <= 1e-8 * scale + 1e-12, key


def test_copies_are_networks_of_their_own():
    network = shaken("resnet18").float()
    fold_norms(network.encoder.network)
    other = copy.deepcopy(network)
    photos = torch.randn(1, 3, 64, 64)
    before = other(photos)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(other(photos), before)


def test_other_bands():
    network = models.build("fcn4s", 2, encoder="resnet18", width=8, bands=5).eval()
    assert fold_norms(network.encoder.network, 5) == 20
