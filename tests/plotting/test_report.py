"""The report page: what it says, how many frames it carries, and that it stands alone."""

import base64
import html.parser
import json
import re

import pytest

from sparserbm import plotting
from sparserbm.plotting import report as write_report
from sparserbm.plotting._frames import frames as make_frames
from sparserbm.plotting.report import _verdict
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex


@pytest.fixture(scope="module")
def page(study_runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(study_runs[2:6], path) == path  # a positive and a negative group
    return path.read_text(encoding="utf-8")


def frames(page):
    return json.loads(re.search(r'id="frames">(.*?)</script>', page, re.DOTALL)[1])


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
    assert re.search(r"MLP, L2 0\.01: in the active zone in all 2 runs \(verdict positive, mean z = \+\d+\.\d\)", seen)
    assert re.search(r"RBM, L2 0: outside the active zone in all 2 runs \(verdict negative, mean z = −\d+\.\d\)", seen)


VERDICTS = [(4.0, "positive"), (-5.0, "negative"), (1.0, "none")]


def test_verdict_sentences():
    positive, negative, none = (LearningIndex(1, 1, 1, 0, z, verdict) for z, verdict in VERDICTS)
    assert _verdict([none, none]) == "nowhere in particular in all 2 runs (verdict none, mean z = +1.0)."
    assert _verdict([negative]) == "outside the active zone (verdict negative, z = −5.0)."
    assert _verdict([positive, none, positive]) == "the runs differ: 2 positive, 1 none (mean z = +3.0)."
    assert _verdict([]) == "no active zone was stated, so there is no verdict."


def test_every_run_has_its_line(page, study_runs):
    for run in study_runs[2:6]:
        assert f"<td>{run.name}</td>" in page
    assert page.count('class="positive">positive</td>') == 2
    assert page.count('class="negative">negative</td>') == 2
    assert f"{study_runs[2].metrics[-1]['validation_accuracy']:.1%}" in page


def test_keys_of_the_grid_are_columns(run_maker, tmp_path):
    studies = ({"zeta": 0.1, "l2": 0.0}, {"zeta": 0.5, "l2": 0.0})
    runs = [run_maker(study=study, image_shape=None, n_epochs=1) for study in studies]
    page = write_report(runs, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<th>run</th><th>model</th><th>zeta</th><th>L2</th><th>seed</th>" in page
    assert "<td>MLP</td><td>0.5</td><td>0</td><td>0</td>" in page
    assert re.search(r"zeta 0\.5: nowhere in particular", text(page))
    assert "The cells of the study" in text(page)


def test_the_page_needs_no_network(page):
    assert not re.search(r"https?://", page)
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_frames_of_one_run_per_group(page):
    found = frames(page)
    assert [entry["label"] for entry in found] == ["MLP, L2 0.01", "RBM, L2 0"]
    for entry in found:
        assert entry["epochs"] == [0, 1, 2]
        assert len(entry["maps"]) == len(entry["trends"]) == 3
        for picture in entry["maps"] + entry["trends"]:
            assert base64.b64decode(picture).startswith(b"\x89PNG")


def test_long_runs_are_thinned_first_and_last_kept(mlp):
    found = make_frames(mlp, 4)
    assert found.epochs == [0, 3, 7, 10]
    assert len(set(found.maps)) == len(set(found.trends)) == 4


def test_figures_settings_and_versions_are_on_the_page(page):
    for name in ("study-summary", "zone-density", "learning-curves"):
        assert page.count(f'alt="{name}"') == 1
    assert page.count('alt="receptive-fields"') == 2
    seen = text(page)
    assert "versions.numpy" in seen
    assert "zone.inputs400 values" in seen
    assert "training.regularization" in seen


def test_text_is_escaped_and_oblong_images_have_maps_only(run_maker, tmp_path):
    run = run_maker(study=False, image_shape=[14, 56], n_epochs=1)
    run.config["name"] = "</script><script>alert(1)</script> & co"
    page = write_report(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    (entry,) = frames(page)
    assert entry["name"] == run.name
    assert len(entry["maps"]) == 2
    assert entry["trends"] == []


def test_runs_without_images_or_zone_still_have_a_page(run_maker, tmp_path):
    run = run_maker(image_shape=None, zone=False, study=False, n_epochs=1)
    seen = text(write_report(run, tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "no active zone was stated, so there is no verdict" in seen
    assert "Not drawn: connection-map draws the inputs as an image" in seen
    assert "Not drawn: zone-density compares the active zone" in seen


def test_a_run_that_never_trained_still_has_a_page(mlp, tmp_path):
    run = Run(mlp.config, [], {})
    seen = text(write_report(run, tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "has no topology snapshots" in seen


def test_bad_paths_and_no_runs_are_explained(mlp, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.html"):
        plotting.report(mlp, tmp_path / "report.png")
    with pytest.raises(ValueError, match="does not exist"):
        plotting.report(mlp, tmp_path / "missing" / "report.html")
    with pytest.raises(ValueError, match="no run was given"):
        plotting.report([], tmp_path / "report.html")
