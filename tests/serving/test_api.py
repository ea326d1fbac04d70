"""What a server answers: every format, and every refusal."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import upscore
from upscore import images

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools


@pytest.fixture(scope="module")
def predicted(photos):
    """What the package itself finds in each photo."""
    predictor = upscore.Predictor()
    return {name: predictor(data) for name, data in photos.items()}


def ask(server, photo, **query):
    return server.client.post("/v1/segment", params=query, files={"photo": ("p.jpg", photo)})


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
def test_pictures_are_those_of_the_predictor(server, photos, predicted, name):
    labels = ask(server, photos[name])
    assert labels.headers["content-type"] == "image/png"
    assert labels.content == predicted[name].encoded_labels()
    overlay = ask(server, photos[name], format="overlay")
    assert overlay.headers["content-type"] == "image/jpeg"
    assert overlay.content == predicted[name].encoded_overlay()[1]


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
def test_json_has_each_class_with_its_runs(server, photos, predicted, name):
    labels, names = predicted[name].labels, predicted[name].class_names
    answer = ask(server, photos[name], format="json").json()
    assert (answer["height"], answer["width"]) == labels.shape
    found = np.full(labels.shape, 255, np.uint8)
    for one in answer["classes"]:
        inside = coco.decode(one["segmentation"]).astype(bool)
        assert (found[inside] == 255).all()
        found[inside] = one["id"]
        assert one["name"] == names[one["id"]]
        assert one["pixels"] == inside.sum()
        assert one["area"] == pytest.approx(inside.mean())
    np.testing.assert_array_equal(found, labels)
    sizes = [one["pixels"] for one in answer["classes"]]
    assert sizes == sorted(sizes, reverse=True)


def test_confidence_is_the_probability_of_the_label(server, photos, predicted):
    segmenter = upscore.load()
    photo = images.read(photos["cat"])
    scores, size, stride = segmenter.coarse(photo[None])
    labels, expected = upscore.argmax(
        scores, size=size, stride=stride, return_confidence="probability"
    )
    answer = ask(server, photos["cat"], format="json", confidence=True).json()
    data = base64.b64decode(answer["confidence"]["image"].partition(",")[2])
    shown = np.array(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(shown, np.rint(expected[0] * 100))
    assert answer["confidence"]["mean"] == pytest.approx(float(expected.mean()), abs=1e-4)
    for one in answer["classes"]:
        mean = expected[labels == one["id"]].mean()
        assert one["confidence"] == pytest.approx(float(mean), abs=1e-4)


def test_geojson_covers_each_pixel_once(server, photos, predicted):
    from rasterio.features import rasterize

    labels = predicted["cat"].labels
    answer = ask(server, photos["cat"], format="geojson")
    assert answer.headers["content-type"] == "application/geo+json"
    features = answer.json()["features"]
    shapes = [(one["geometry"], one["properties"]["label"]) for one in features]
    np.testing.assert_array_equal(rasterize(shapes, labels.shape, fill=255, dtype="uint8"), labels)
    assert sum(one["properties"]["pixels"] for one in features) == labels.size


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json"),
        ("image/jpeg", "image/jpeg"),
        ("application/geo+json;q=0.9, image/png;q=0.1", "application/geo+json"),
        ("text/html, */*;q=0.1", "image/png"),
        ("image/*", "image/png"),
    ],
)
def test_accept_chooses_the_format(server, photos, accept, expected):
    answer = server.client.post("/v1/segment", content=photos["cat"], headers={"accept": accept})
    assert answer.headers["content-type"] == expected


def test_raw_bodies_and_multipart_are_the_same(server, photos):
    raw = server.client.post("/v1/segment", content=photos["cat"])
    assert raw.content == ask(server, photos["cat"]).content
    assert "network" in raw.headers["server-timing"] or "label" in raw.headers["server-timing"]


def picture(mode="RGB", size=(40, 30), format="PNG"):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, format)
    return stream.getvalue()


REFUSED = {
    "no photo at all": (b"", {}, 422, "no photo"),
    "not a photo": (b"hello, world", {}, 415, "not an image in a known format"),
    "half a photo": (picture("RGB", (400, 300), "JPEG")[:900], {}, 422, "cannot be decoded"),
    "too many pixels": (picture("1", (10_000, 6_000)), {}, 413, "more than the limit"),
    "another format": (picture(), {"format": "gif"}, 422, "'png', 'json', 'geojson' or 'overlay'"),
    "another model": (picture(), {"model": "nobody"}, 404, "there are bundled"),
    "confidence of a PNG": (picture(), {"confidence": "1"}, 422, "format=json"),
    "no answer to this": (picture(), {"confidence": "perhaps"}, 422, "confidence"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_to_do(server, case):
    data, query, status, words = REFUSED[case]
    answer = server.client.post("/v1/segment", params=query, content=data)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert words in problem["detail"]


def test_other_refusals(server, photos):
    client = server.client
    assert client.get("/v1/segment").status_code == 405
    assert client.get("/nothing").status_code == 404
    assert client.get("/page/../../serve.py").status_code == 404
    assert client.get("/page/%2e%2e/serve.py").status_code == 404
    none = client.post("/v1/segment", content=photos["cat"], headers={"accept": "text/html"})
    assert none.status_code == 406
    wrong = client.post("/v1/segment", files={"image": photos["cat"]})
    assert wrong.status_code == 422
    assert "no photo" in wrong.json()["detail"]
    form = {"content-type": "multipart/form-data"}
    assert client.post("/v1/segment", content=b"x", headers=form).status_code == 422


def test_models_are_described(server):
    answer = server.client.get("/v1/models").json()
    assert answer["default"] == "bundled"
    (model,) = answer["models"]
    assert model == server.client.get("/v1/model").json()
    spec = upscore.load().spec
    assert [one["name"] for one in model["classes"]] == list(spec.class_names)
    assert model["classes"][1]["color"] == "#{:02x}{:02x}{:02x}".format(*spec.palette[1])
    assert answer["tuning"] == {"available": True, "reason": None, "photos": 4}


def test_health_and_measures(server, photos):
    assert server.client.get("/healthz").text == "ok"
    assert server.client.get("/readyz").text == "ok"
    ask(server, photos["cat"])
    lines = server.client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['upscore_requests_total{path="/v1/segment",status="200"}']) >= 1
    for stage in ("decode", "queue", "network", "encode"):
        assert float(values[f'upscore_stage_seconds_count{{stage="{stage}"}}']) >= 1
    assert float(values["upscore_photos_in_hand"]) == 0


def test_the_api_describes_itself_without_the_network(server):
    assert server.client.get("/docs").status_code == 200
    described = server.client.get("/openapi.json").json()
    assert set(described["paths"]["/v1/segment"]["post"]["responses"]) >= {
        "200",
        "413",
        "415",
        "429",
    }
    for page in ("/", "/docs", "/page/docs.js"):
        answer = server.client.get(page)
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
