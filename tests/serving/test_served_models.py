"""Several models by name, and the memory that they may hold."""

import shutil
from pathlib import Path

import pytest

import upscore
from upscore.errors import ArgumentError, CheckpointError
from upscore.serving.models import Models


def test_models_are_served_by_their_names(serve, photos, tmp_path):
    shutil.copytree(Path(upscore.models.__file__).parent / "bundled", tmp_path / "street")
    server = serve("--model", "animals=bundled", "--model", "street", "--memory", "1M")
    answer = server.client.get("/v1/models").json()
    assert answer["default"] == "animals"
    assert [one["name"] for one in answer["models"]] == ["animals", "street"]
    expected = upscore.Predictor()(photos["cat"]).encoded_labels()
    for name in ("street", "animals", "street"):
        found = server.client.post(f"/v1/segment?model={name}", content=photos["cat"])
        assert found.content == expected
        about = server.client.get("/v1/models").json()["models"]
        # One megabyte has no room for two.
        assert [one["name"] for one in about if one["loaded"]] == [name]


def test_without_a_limit_all_stay(photos):
    models = Models(["a=bundled", "b=bundled"])
    first = models.segmenter("a")
    models.segmenter("b")
    assert models.segmenter("a") is first


def test_the_one_used_longest_ago_goes_first():
    models = Models(["a=bundled", "b=bundled", "c=bundled"])
    for name in ("a", "b", "c", "a"):
        models.segmenter(name)
    for one in models._known.values():
        one.memory = 100
    models._limit = 250
    models._make_room(0)
    assert [models.describe(name)["loaded"] for name in "abc"] == [True, False, True]


def test_a_replaced_model_is_another_one():
    models = Models(["a=bundled"])
    before = models.segmenter("a")
    models.replace("a", "bundled")
    assert models.segmenter("a") is not before
    assert models.names == ("a",)


@pytest.mark.parametrize(
    "given", [["a=bundled", "a=bundled"], ["=bundled"], ["a="], ["a/b=bundled"]]
)
def test_names_that_cannot_be(given):
    with pytest.raises(ArgumentError):
        Models(given)


def test_no_model():
    with pytest.raises(CheckpointError):
        Models(["nothing-here"])
