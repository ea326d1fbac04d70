import csv
import dataclasses
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tiny
from upscore import Segmenter, cli, images
from upscore.errors import ArgumentError, ImageError, UnsupportedError
from upscore.prediction.video.predict import predict_video, predict_videos

pytestmark = pytest.mark.slow

av = pytest.importorskip("av")


@pytest.fixture
def segmenter():
    return tiny.halves(stride=8)


def picture(number, width, height):
    """Dark, with a bright left part that grows from frame to frame."""
    frame = np.full((height, width, 3), 30, np.uint8)
    frame[:, : width // 4 + number] = 220
    return frame


def clip(
    path, *, size=(64, 48), stamps=range(20), base=Fraction(1, 10), codec="libx264", sound=False,
    rotation=0, voice="aac", **options,
):  # fmt: skip
    """A video of so many frames; its frames at the stamps given, in units of `base` seconds."""
    width, height = size
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, 10, options={"bf": "0", "g": "5", **options})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        heard = file.add_stream(voice, 48000, layout="mono") if sound else None
        if sound:
            heard.bit_rate = 64_000
        for number, stamp in enumerate(stamps):
            shown = av.VideoFrame.from_ndarray(picture(number, *size))
            shown.pts, shown.time_base = stamp, base
            file.mux(stream.encode(shown))
        file.mux(stream.encode())
        for number in range(90 if sound else 0):
            tone = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            tone.sample_rate, tone.pts, tone.time_base = 48000, number * 1024, Fraction(1, 48000)
            file.mux(heard.encode(tone))
        if sound:
            file.mux(heard.encode())
    return path


def decoded(path, form="rgb24"):
    with av.open(str(path)) as file:
        return [(frame.time, frame.to_ndarray(format=form)) for frame in file.decode(video=0)]


def predict(path, out, segmenter, **options):
    return predict_video(path, out, segmenter, progress=False, **options)


def test_overlay_labels_areas_and_sound(tmp_path, segmenter):
    record = predict(clip(tmp_path / "a.mp4", sound=True), tmp_path, segmenter, labels="video")
    assert (record["frames"], record["labelled"], record["broken"]) == (20, 20, 0)
    assert "error" not in record
    assert record["size"] == [64, 48]

    overlay = decoded(tmp_path / "overlays/a.mp4")
    assert [time for time, _ in overlay] == [time for time, _ in decoded(tmp_path / "a.mp4")]
    red, green, _ = overlay[0][1][24, 6].astype(int)
    # Half the photo's grey, half the colour.
    assert max(abs(red - 210), abs(green - 130)) < 12
    labels = [frame for _, frame in decoded(tmp_path / "labels/a.mkv", "gray")]
    source = [frame for _, frame in decoded(tmp_path / "a.mp4")]
    assert all((segmenter.labels(s) == m).all() for s, m in zip(source, labels, strict=True))

    rows = list(csv.DictReader((tmp_path / "areas/a.csv").read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == list(range(20))
    assert float(rows[7]["seconds"]) == pytest.approx(0.7)
    assert float(rows[7]["light"]) == pytest.approx((labels[7] == 1).mean(), abs=1e-6)
    with av.open(str(tmp_path / "a.mp4")) as old, av.open(str(tmp_path / "overlays/a.mp4")) as new:
        assert new.streams.video[0].codec_context.pix_fmt == "yuv420p"
        packets = [[bytes(p) for p in file.demux(audio=0) if p.size] for file in (old, new)]
    assert packets[0] == packets[1]
    assert not list(tmp_path.rglob(".part-*"))


@pytest.mark.parametrize(
    ("voice", "said"),
    [("libmp3lame", None), ("pcm_s16le", "left out: pcm_s16le is not copied into an mp4")],
)
def test_sound_is_kept_or_said_to_be_left_out(tmp_path, segmenter, voice, said):
    path = clip(tmp_path / "a.mkv", stamps=range(3), sound=True, voice=voice)
    record = predict(path, tmp_path, segmenter)
    with av.open(str(tmp_path / "overlays/a.mp4")) as file:
        assert bool(file.streams.audio) == (said is None)
    assert record.get("sound") == said


def replaced(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def test_sound_whose_time_stamps_go_back_is_left_out(tmp_path, segmenter):
    path = clip(tmp_path / "a.mkv", sound=True)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[40:43]:  # a time of two bytes and flags of one stand before its bytes
        place = data.index(bytes(packet), packet.pos)
        data[place - 3 : place - 1] = bytes(2)
    path.write_bytes(data)
    record = predict(path, tmp_path / "out", segmenter)
    assert record["sound"] == "3 packets left out: their time stamps go back"
    assert record["labelled"] == 20
    with av.open(str(tmp_path / "out/overlays/a.mp4")) as file:
        assert sum(packet.size > 0 for packet in file.demux(audio=0)) == len(packets) - 3


def test_sound_without_a_decoder_is_left_out(tmp_path, segmenter):
    path = clip(tmp_path / "a.mkv", stamps=range(3), sound=True)
    replaced(path, b"A_AAC", b"A_XXX")
    record = predict(path, tmp_path / "out", segmenter)
    assert record["sound"] == "left out: an unknown codec is not copied into an mp4"


def test_pictures_without_a_decoder_are_an_error_of_that_video(tmp_path, segmenter):
    for name in ("bad", "good"):
        clip(tmp_path / f"{name}.mkv", stamps=range(3))
    replaced(tmp_path / "bad.mkv", b"V_MPEG4/ISO/AVC", b"V_XXXXX/ISO/AVC")
    summary = predict_videos([tmp_path], tmp_path / "out", segmenter, progress=False)
    (failed,) = summary.failed
    assert (
        failed["error"]
        == f"{tmp_path / 'bad.mkv'}: there is no decoder for the pictures in this file"
    )
    assert len(summary.ok) == 1


def test_names_of_classes_are_quoted_in_the_table(tmp_path, segmenter):
    names = ('a "dark", one', "light\nand more")
    model = Segmenter(dataclasses.replace(segmenter.spec, class_names=names), segmenter.engine)
    predict(clip(tmp_path / "a.mp4", stamps=range(2)), tmp_path, model)
    with (tmp_path / "areas/a.csv").open(newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["seconds", "frame", *names]
    assert [len(row) for row in rows] == [4, 4]


MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import tiny
from upscore.prediction.video.predict import predict_video
for path in sys.argv[2:]:
    found = predict_video(path, "out", tiny.halves(stride=8), labels="video", progress=False)
    print(found["labelled"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="KiB, as Linux counts memory")
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    size = {"size": (320, 240), "sound": True}
    paths = [clip(tmp_path / f"{n}.mp4", stamps=range(n), **size) for n in (60, 500)]
    command = [sys.executable, "-c", MEMORY, str(Path(tiny.__file__).parent), *map(str, paths)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    (few, small), (many, large) = (map(int, line.split()) for line in ran.stdout.splitlines())
    assert (few, many) == (60, 500)
    assert large - small < 40  # MiB; 440 frames would be 97


def test_variable_rate(tmp_path, segmenter):
    stamps = [0, 1, 40, 41, 900, 1000, 1333]
    path = clip(tmp_path / "a.mp4", stamps=stamps, base=Fraction(1, 1000))
    predict(path, tmp_path / "out", segmenter)
    times = [time for time, _ in decoded(tmp_path / "out/overlays/a.mp4")]
    assert times == [stamp / 1000 for stamp in stamps]


def test_every(tmp_path, segmenter):
    record = predict(clip(tmp_path / "a.mkv"), tmp_path, segmenter, every=0.5, labels="png")
    assert (record["frames"], record["labelled"]) == (20, 4)
    assert [time for time, _ in decoded(tmp_path / "overlays/a.mp4")] == [0, 0.5, 1, 1.5]
    names = sorted(path.name for path in (tmp_path / "labels/a").iterdir())
    assert names == [f"{number:06d}.png" for number in (0, 5, 10, 15)]
    with Image.open(tmp_path / "labels/a/000005.png") as labels:
        assert labels.mode == "P"
    predict(tmp_path / "a.mkv", tmp_path, segmenter, every=1, labels="png")
    assert len(list((tmp_path / "labels/a").iterdir())) == 2  # none of those before


def test_odd_sizes_are_padded_by_one(tmp_path, segmenter):
    path = clip(tmp_path / "a.mp4", size=(63, 47), stamps=range(3))
    record = predict(path, tmp_path, segmenter, labels="video")
    assert record["size"] == [63, 47]
    assert decoded(tmp_path / "overlays/a.mp4")[0][1].shape == (48, 64, 3)
    assert decoded(tmp_path / "labels/a.mkv", "gray")[0][1].shape == (47, 63)


@pytest.mark.parametrize(("rotation", "bright"), [(90, "bottom"), (-90, "top")])
def test_rotation(tmp_path, segmenter, rotation, bright):
    """A turn against the clock by 90 degrees brings the left side to the bottom."""
    path = clip(tmp_path / "a.mp4", stamps=range(2), rotation=rotation)
    assert predict(path, tmp_path, segmenter)["size"] == [48, 64]
    frame = decoded(tmp_path / "overlays/a.mp4")[0][1].mean(axis=(1, 2))
    assert (frame[-4:].mean() > frame[:4].mean()) == (bright == "bottom")


def test_truncated(tmp_path, segmenter):
    path = clip(tmp_path / "b.mkv")
    with av.open(str(path)) as file:
        place = [packet.pos for packet in file.demux(video=0) if packet.size][12]
    path.write_bytes(path.read_bytes()[: place + 10])
    record = predict(path, tmp_path, segmenter)
    assert 0 < record["labelled"] < 20
    assert record["broken"] >= 1
    assert str(path) in record["error"]


def test_corrupt_middle(tmp_path, segmenter):
    path = clip(tmp_path / "a.mp4")
    with av.open(str(path)) as file:
        hit = next(p for p in list(file.demux(video=0))[8:] if p.size)
        place, size, when = hit.pos, hit.size, float(hit.pts * hit.time_base)
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    record = predict(path, tmp_path, segmenter)
    assert record["broken"] >= 1
    assert record["damage"][0]["seconds"] == pytest.approx(when)
    assert record["labelled"] >= 15
    assert decoded(tmp_path / "overlays/a.mp4")[-1][0] == pytest.approx(1.9)


def test_what_is_refused(tmp_path, segmenter, monkeypatch):
    path = clip(tmp_path / "a.mp4", stamps=range(2))
    for option in ({"every": 0.0}, {"every": float("nan")}, {"labels": "gif"}):
        with pytest.raises(ArgumentError):
            predict(path, tmp_path, segmenter, **option)
    (tmp_path / "b.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n")
    (tmp_path / "c.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    for name in ("b.mp4", "c.mp4", "missing.mp4"):
        with pytest.raises(ImageError, match=name):
            predict(tmp_path / name, tmp_path, segmenter)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="64 x 48"):
        predict(path, tmp_path / "out", segmenter)
    assert not (tmp_path / "out").exists()


def test_measurements_are_refused(tmp_path, segmenter):
    spec = dataclasses.replace(
        segmenter.spec, mean=(0.0,) * 4, std=(1.0,) * 4, ranges=((0.0, 1.0),) * 4
    )
    with pytest.raises(UnsupportedError, match="4 bands"):
        predict(tmp_path / "a.mp4", tmp_path, Segmenter(spec, segmenter.engine))


def test_one_bad_file_does_not_stop_the_others(tmp_path, segmenter):
    clip(tmp_path / "good.mp4", stamps=range(3))
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    paths = [tmp_path / "bad.mp4", tmp_path / "good.mp4"]
    summary = predict_videos(paths, tmp_path / "out", segmenter, progress=False)
    assert len(summary.ok) == len(summary.failed) == 1
    assert (tmp_path / "out/videos.json").exists()


def test_command(tmp_path):
    path = clip(tmp_path / "a.mp4", stamps=range(6))
    arguments = ["predict", str(path), "-o", str(tmp_path / "out"), "--long-side", "32"]
    ran = CliRunner().invoke(cli.app, [*arguments, "--every", "0.2s", "--video-labels", "png"])
    assert ran.exit_code == 0, ran.output
    assert len(list((tmp_path / "out/labels/a").iterdir())) == 3
    picture = tmp_path / "b.png"
    Image.new("RGB", (64, 48)).save(picture)
    assert CliRunner().invoke(cli.app, [*arguments, str(picture)]).exit_code == 0
    assert (tmp_path / "out/labels/b.png").exists()
    for option in ("--tile=auto", "--jobs=2", "--resume", "--on=ray", "--max-pixels=9"):
        assert CliRunner().invoke(cli.app, [*arguments, option]).exit_code == 2
    path.write_bytes(path.read_bytes()[:100])
    assert CliRunner().invoke(cli.app, arguments).exit_code == 1
