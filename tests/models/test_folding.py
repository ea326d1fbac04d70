"""Frozen normalisation within convolutions: the same values and gradients, for any encoder."""

import copy

import pytest
import torch
from torch import nn

import tiny
from upscore import models
from upscore.models.folding import fold_norms

pytestmark = pytest.mark.slow

ENCODERS = (
    "tf_efficientnet_lite0",
    "test_efficientnet",
    "resnet18",
    "resnet18d",
    "mobilenetv3_small_050",
    "regnetx_002",
    "densenet121",  # normalises before it convolves, mostly
    "convnext_atto",  # has no such normalisation
)


def shaken(name):
    """A network whose normalisation does something, in evaluation mode."""
    network = tiny.network(tiny.spec("fcn4s", encoder=name, width=8)).double()
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
    fold_norms(folded.encoder.network)
    assert are_folded(folded) == (name != "convnext_atto")
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


def are_folded(network):
    """Whether some normalisations have another path than their own."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    return any("forward" in norm.__dict__ for norm in norms)


class Twice(nn.Module):
    """What a convolution gives is used beside its normalisation."""

    def __init__(self, use):
        super().__init__()
        self.conv, self.other, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.use = use

    def forward(self, x):
        return [self.use(self.conv(x), self.other(x), self.norm)]


USES = {
    "alone": lambda a, b, norm: norm(a),
    "beside": lambda a, b, norm: a + norm(a),
    "changed in place": lambda a, b, norm: norm(a.relu_()),
    "added to in place": lambda a, b, norm: norm(a.add_(b)),
}


@pytest.mark.parametrize("use", USES)
def test_what_is_used_otherwise_stays(use):
    torch.manual_seed(0)
    network = Twice(USES[use]).eval()
    nn.init.normal_(network.norm.running_mean)
    nn.init.uniform_(network.norm.weight, 2, 3)
    photos = torch.randn(2, 3, 20, 20)
    before = network(photos)[0]
    fold_norms(network)
    assert are_folded(network) == (use == "alone")
    torch.testing.assert_close(network(photos)[0], before, rtol=1e-4, atol=1e-5)


def test_other_bands_and_no_trace_in_the_random_numbers():
    network = models.build("fcn4s", 2, encoder="resnet18", width=8, bands=5).eval()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fold_norms(network.encoder.network, 5)
    assert are_folded(network)
    assert torch.equal(torch.rand(3), expected)
