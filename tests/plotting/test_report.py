"""The report page: what it says, which numbers it carries, and that it stands alone. What a browser makes of it:
test_report_browser.py."""

import base64
import html.parser
import io
import json
import math
import re
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from sparserbm import plotting
from sparserbm.plotting import report as write_report
from sparserbm.plotting._curves import topology_series
from sparserbm.plotting._frames import fields, frames
from sparserbm.plotting._p_values import p_number, p_text
from sparserbm.plotting._verdicts import lead, verdict
from sparserbm.runs import LayerSnapshot, Run, Snapshot
from sparserbm.topology import LearningIndex, learning_index


@pytest.fixture(scope="module")
def page(study_runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(study_runs[2:6], path) == path  # a positive and a negative group
    return path.read_text(encoding="utf-8")


def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def degrees(found):
    """The connections of every input, (n_epochs, n_inputs), as the page reads them."""
    return np.frombuffer(base64.b64decode(found["degrees"]), f"<u{found['bits'] // 8}").reshape(
        len(found["epochs"]), -1
    )


def text(page):
    """What a reader sees, without tags and scripts."""

    class Text(html.parser.HTMLParser):
        seen, hidden = "", False

        def handle_starttag(self, tag, attrs):
            self.hidden = tag in ("script", "style")

        def handle_endtag(self, tag):
            self.hidden = False

        def handle_data(self, data):
            self.seen += "" if self.hidden else data

    parser = Text()
    parser.feed(page)
    return parser.seen


def test_the_question_and_a_verdict_for_every_group(page):
    seen = text(page)
    assert "Where did the connections gather?" in seen
    assert "In the active zone in 1 and outside the active zone in 1 of 2 groups of runs." in seen
    evidence = r"\(verdict {}, mean z = {}\d+\.\d, combined z = {}\d+\.\d, p < 1e−15\)"
    positive, negative = evidence.format("positive", r"\+", r"\+"), evidence.format("negative", "−", "−")
    assert re.search(rf"MLP, L2 0\.01: in the active zone in all 2 runs {positive}", seen)
    assert re.search(rf"RBM, L2 0: outside the active zone in all 2 runs {negative}", seen)
    assert "validation accuracy 94.4% ± 0.0%" in seen
    assert "validation reconstruction error 0.0" in seen
    assert "Stouffer" in seen
    assert len(re.findall(r'<circle cx="[\d.]+%"', page)) == 4  # one dot a run


VERDICTS = [(4.0, "positive"), (-5.0, "negative"), (1.0, "none")]


def test_verdict_sentences():
    positive, negative, none = (LearningIndex(1, 1, 1, 0, z, verdict) for z, verdict in VERDICTS)
    assert verdict([none, none]) == (
        "nowhere in particular in all 2 runs (verdict none, mean z = +1.0, combined z = +1.4, p = 0.16)."
    )
    assert verdict([negative]) == "outside the active zone (verdict negative, z = −5.0, p = 6e−7)."
    assert verdict([positive, none, positive]) == (
        "the runs differ: 2 positive, 1 none (mean z = +3.0, combined z = +5.2, p = 2e−7)."
    )
    assert verdict([]) == "no active zone was stated, so there is no verdict."


def test_the_answer_of_the_whole_page(study_runs, run_maker):
    positive, negative, none = study_runs[2:4], study_runs[4:6], study_runs[:2]
    assert lead({"a": positive}).startswith("In the active zone in all 2 runs (verdict positive, mean z = +")
    assert lead({"a": positive, "b": positive}) == "In the active zone in all 2 groups of runs."
    groups = {"a": positive, "b": positive, "c": negative, "d": none, "e": [positive[0], negative[0]]}
    assert lead(groups) == (
        "In the active zone in 2, outside the active zone in 1, nowhere in particular in 1 and not in the same place in "
        "all runs in 1 of 5 groups of runs."
    )
    unmeasured = Run(positive[0].config, [], {})
    assert lead({"a": [unmeasured]}) == "No epoch was measured, so there is no verdict."
    assert (
        lead({"a": [unmeasured], "b": negative})
        == "Outside the active zone in 1 and not measured in 1 of 2 groups of runs."
    )


@pytest.mark.parametrize(
    ("p", "sentence", "cell"),
    [
        (1.0, "p = 1", "1"),
        (0.5724, "p = 0.57", "0.57"),
        (0.001, "p = 0.001", "0.001"),
        (3.2e-5, "p = 3e−5", "3e−5"),
        (0.0, "p < 1e−15", "< 1e−15"),
    ],
)
def test_p_in_words(p, sentence, cell):
    assert (p_text(p), p_number(p)) == (sentence, cell)


def test_every_run_has_its_line(page, study_runs):
    for place, run in enumerate(study_runs[2:6]):
        assert f'<button type="button" data-run="{place}">{run.name}</button>' in page
    assert page.count('class="positive">positive</td>') == 2
    assert page.count('class="negative">negative</td>') == 2
    accuracy = float(study_runs[2].metrics[-1]["validation_accuracy"])
    assert f'<td data-value="{accuracy!r}">{accuracy:.1%}</td>' in page


def test_keys_of_the_grid_are_columns(run_maker, tmp_path):
    studies = ({"zeta": 0.1, "l2": 0.0}, {"zeta": 0.5, "l2": 0.0})
    runs = [run_maker(study=study, image_shape=None, n_epochs=1) for study in studies]
    page = write_report(runs, tmp_path / "a.html").read_text(encoding="utf-8")
    heads = re.findall(r'<th scope="col"><button type="button">(.*?)</button>', page)
    assert heads[:6] == ["run", "model", "zeta", "L2", "seed", "epochs"]
    assert '<td>MLP</td><td data-value="0.5">0.5</td><td data-value="0.0">0</td><td data-value="0">0</td>' in page
    assert re.search(r"zeta 0\.5: nowhere in particular", text(page))


def test_many_groups_are_folded(run_maker, tmp_path):
    runs = [run_maker(study={"zeta": zeta}, image_shape=None, n_epochs=1) for zeta in range(13)]
    page = write_report(runs, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<details><summary>The verdict on each of the 13 groups</summary>" in page


def test_the_page_needs_no_network(page):
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")", page)  # the name of a language, not an address
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "default-src 'none'" in page


def test_the_connections_of_every_run_and_epoch(page, study_runs):
    found = data(page)
    assert found["groups"] == ["MLP, L2 0.01", "RBM, L2 0"]
    assert [entry["group"] for entry in found["runs"]] == ["MLP, L2 0.01"] * 2 + ["RBM, L2 0"] * 2
    for entry, run in zip(found["runs"], study_runs[2:6]):
        assert entry["epochs"] == entry["frames"]["epochs"] == [0, 1, 2]
        assert (degrees(entry["frames"]) == run.degrees()[1]).all()
        assert base64.b64decode(entry["frames"]["zone"]) == run.zone_mask.tobytes()
        assert (entry["frames"]["shape"], entry["frames"]["noisy"]) == ([28, 28], 2)


def test_many_connections_an_input_need_more_bits(mlp):
    many = Run(mlp.config | {"zone": None}, [], {0: Snapshot(0, (LayerSnapshot(np.arange(784) * 90, np.ones(64)),))})
    found = frames(many, 5)
    assert found["bits"] == 32
    assert (degrees(found) == np.arange(784) * 90).all()
    assert (found["low"], found["high"], found["extend"]) == (352.0, 70118.0, "both")


def test_long_runs_are_thinned_first_and_last_kept(mlp):
    assert frames(mlp, 4)["epochs"] == [0, 3, 7, 10]
    assert topology_series(mlp, 4)["z"]["epochs"] == [0, 3, 7, 10]
    assert topology_series(mlp, 4, {5})["z"]["epochs"] == [0, 3, 5, 7, 10]


def test_a_page_has_room_for_so_many_frames_and_runs(run_maker, tmp_path, monkeypatch):
    runs = [run_maker(seed=seed, n_epochs=9) for seed in range(4)]
    module = sys.modules["sparserbm.plotting.report"]  # the function has the same name
    monkeypatch.setattr(module, "FRAME_BYTES", 3 * 784 * 5)
    monkeypatch.setattr(module, "MOST_SHOWN", 3)
    monkeypatch.setattr(module, "most_points", lambda n_runs: 7)
    found = data(write_report(runs, tmp_path / "a.html").read_text(encoding="utf-8"))["runs"]
    assert [len(entry["frames"]["epochs"]) for entry in found[:3]] == [5, 5, 5]
    for entry in found[:3]:  # the curves have the epochs at which the slider stops
        assert all(set(entry["epochs"]) <= set(entry["series"][key]["epochs"]) for key in ("z", "margin"))
        assert set(entry["epochs"]) - {0} <= set(entry["series"]["loss"]["epochs"])
    assert found[3]["frames"] is None
    assert found[3]["missing"] == ["the page has the maps of 3 runs only; write one with fewer runs"]
    assert found[3]["epochs"] == [0, 2, 3, 4, 6, 8, 9]  # those of its curves


def test_colours_are_those_of_the_figures(page):
    found = data(page)["colours"]
    for name, colours in (("viridis", found["sequence"]), ("RdBu_r", found["diverging"])):
        table = np.frombuffer(base64.b64decode(colours), np.uint8).reshape(256, 3)
        assert (table == matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]).all()


def test_curves_and_their_panels(page, study_runs):
    found = data(page)
    titles = [panel["title"] for panel in found["panels"]]
    assert titles == [
        *("Learning index, z", "Connections per input", "Loss, MLP", "Accuracy, MLP"),
        *("Reconstruction error (MSE), RBM", "Pseudo-likelihood (nats), RBM", "Free-energy gap (nats), RBM"),
    ]
    series, history = found["runs"][0]["series"], study_runs[2].history
    assert series["validation_accuracy"]["epochs"] == [1, 2]
    assert series["validation_accuracy"]["values"] == pytest.approx(history["validation_accuracy"][1:], rel=1e-5)
    last = learning_index(study_runs[2].degrees()[1][-1], study_runs[2].zone_mask, 784 * 64)
    assert series["z"]["values"][-1] == pytest.approx(last.z, rel=1e-5)
    assert series["margin"]["values"][-1] == pytest.approx(last.margin_density, rel=1e-5)
    assert "accuracy" not in found["runs"][2]["series"]


def test_receptive_fields_are_the_weights(mlp):
    found = fields(mlp, 9)
    layer = mlp.snapshots[10].layers[0]
    assert (found["epoch"], len(found["units"]), len(found["pictures"])) == (10, 9, 9)
    unit = found["units"][0]
    assert found["fan_in"][0] == layer.degree_post[unit] == layer.degree_post.max()
    picture = imread(io.BytesIO(base64.b64decode(found["pictures"][0])))
    coloured = np.any(picture[:, :, :3] != picture[:, :, :1], axis=2).ravel()  # grey: no connection
    connected = np.zeros(784, bool)
    connected[layer.pre[layer.indptr[unit] : layer.indptr[unit + 1]]] = True
    assert not (coloured & ~connected).any()
    assert coloured.sum() > 0.9 * connected.sum()


def test_settings_and_versions_are_on_the_page(page):
    seen = text(page)
    assert "versions.numpy" in seen
    assert "zone.inputs400 values" in seen
    assert "training.regularization" in seen
    assert data(page)["runs"][0]["settings"]["model.layers"] == "784, 64, 10"


def test_text_is_escaped_and_oblong_images_have_maps_only(run_maker, tmp_path):
    run = run_maker(study=False, image_shape=[14, 56], n_epochs=1)
    run.config["name"] = "</script><script>alert(1)</script> & co"
    page = write_report(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    (entry,) = data(page)["runs"]
    assert entry["name"] == run.name
    assert len(entry["frames"]["epochs"]) == 2
    assert entry["frames"]["noisy"] is None
    assert "a square image of even side, but that of run" in entry["missing"][0]


def test_runs_without_images_or_zone_still_have_a_page(run_maker, tmp_path):
    run = run_maker(image_shape=None, zone=False, study=False, n_epochs=1)
    page = write_report(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "No active zone was stated, so there is no verdict" in text(page)
    found = data(page)
    assert found["panels"][0]["title"] == "Connections per input (runs without a zone)"
    (entry,) = found["runs"]
    assert "states no active zone" in entry["missing"][0]
    assert "connection-map draws the inputs as an image" in entry["missing"][1]
    tenth, half = (np.quantile(run.degrees()[1][-1], share) for share in (0.1, 0.5))
    assert (entry["series"]["low"]["values"][-1], entry["series"]["middle"]["values"][-1]) == (tenth, half)
    assert entry["epochs"] == [0, 1]


def test_a_run_that_never_trained_still_has_a_page(mlp, tmp_path):
    run = Run(mlp.config, [], {})
    page = write_report(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "No epoch was measured, so there is no verdict." in text(page)
    (entry,) = data(page)["runs"]
    assert "has no topology snapshots" in entry["missing"][0]
    assert "needs a loss or an accuracy" in entry["missing"][1]
    assert entry["epochs"] == []


def test_numbers_that_json_lacks(run_maker, tmp_path):
    """A run whose zone holds all connections has an infinite index."""
    run = run_maker(n_epochs=1)
    everything = LayerSnapshot(run.zone_mask.astype(int), np.full(64, 400 / 64))
    run = Run(run.config, run.metrics, {0: run.snapshots[0], 1: Snapshot(1, (everything,))})
    page = write_report(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert math.isfinite(data(page)["runs"][0]["series"]["z"]["values"][-1])
    assert "<td>+inf</td>" in page


def test_bad_paths_and_no_runs_are_explained(mlp, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.html"):
        plotting.report(mlp, tmp_path / "report.png")
    with pytest.raises(ValueError, match="does not exist"):
        plotting.report(mlp, tmp_path / "missing" / "report.html")
    with pytest.raises(ValueError, match="no run was given"):
        plotting.report([], tmp_path / "report.html")


def test_a_report_is_no_folder(mlp, tmp_path):
    (tmp_path / "a.html").mkdir()
    with pytest.raises(ValueError, match=r"a.html: that is a folder"):
        write_report([mlp], tmp_path / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
