"""Every figure: its table against the runs it was made from, and that it can be drawn and saved."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from sparserbm import plotting
from sparserbm.plotting import (
    comparison,
    concentric_trend,
    connection_map,
    density_by_distance,
    learning_curves,
    receptive_fields,
    study_summary,
    topology_distance,
    zone_density,
)
from sparserbm.plotting._render import render
from sparserbm.plotting._runs import group_labels, spread
from sparserbm.plotting._style import CATEGORIES, in_parts, legend_shape
from sparserbm.plotting._zone_series import signed
from sparserbm.runs import LayerSnapshot, Run, Snapshot, load_run
from sparserbm.topology import central_square, learning_index, nnstd

ALL = [
    *("age-pyramid", "comparison", "concentric-trend", "connection-map", "degree-distribution"),
    *("density-by-distance", "explored", "learning-curves"),
    *("receptive-fields", "study-summary", "survival", "topology-distance", "zone-density"),
]
ONE = [name for name in ALL if name not in ("comparison", "survival")]  # figures of a single run, nothing born in it


def pixels(path):
    """Width and height that a PNG file states."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def title(figure):
    return figure.get_suptitle().replace("\n", " ")


def test_figures_are_found_by_file_name():
    assert plotting.figures() == ALL


@pytest.mark.parametrize("name", ONE)
def test_every_figure_is_saved_975_pixels_wide(name, mlp, tmp_path):
    path = tmp_path / f"{name}.png"
    figure = plotting.plot(name, mlp, path)
    width, height = pixels(path)
    assert width == 975
    assert abs(height - 150 * figure.get_size_inches()[1]) <= 1
    assert path.stat().st_size > 5000
    assert title(figure)


@pytest.mark.parametrize("name", ONE)
def test_every_figure_draws_on_a_subfigure(name, mlp):
    module = plotting._figure_module(name)
    figure = Figure(figsize=(13, 6), layout="constrained")
    left, right = figure.subfigures(1, 2)
    module.draw(left, module.load([mlp]))
    assert left.axes
    assert not right.axes


ONE_CELL = {"degree-distribution"}  # takes units of several runs together


@pytest.mark.parametrize("name", sorted(set(ALL) - ONE_CELL - {"receptive-fields", "survival", "topology-distance"}))
def test_several_runs_in_one_figure(name, study_runs):
    figure = plotting.plot(name, study_runs[1::3])
    figure.draw_without_rendering()
    assert figure.get_size_inches()[0] == 6.5


def test_vector_files_hold_no_date_and_repeat(mlp, tmp_path):
    for suffix, start in ((".svg", b"<?xml"), (".pdf", b"%PDF")):
        paths = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
        for path in paths:
            plotting.plot("study-summary", mlp, path)
        assert paths[0].read_bytes().startswith(start)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_runs_are_read_from_folders_too(run_maker, tmp_path):
    folder = tmp_path / "run"
    run_maker(folder, n_epochs=2)
    run = load_run(folder)
    expected = title(plotting.plot("zone-density", run))
    for given in (str(folder), [folder]):
        assert title(plotting.plot("zone-density", given)) == expected


def test_unknown_names_suffixes_and_options_are_explained(mlp, tmp_path):
    with pytest.raises(
        ValueError, match=r"'zone_densty' \(did you mean 'zone-density'\?\); known: age-pyramid, comparison,"
    ):
        plotting.plot("zone_densty", mlp)
    with pytest.raises(ValueError, match=r"a\.jpg; use a name that ends in one of \.png, \.svg, \.pdf"):
        plotting.plot("zone-density", mlp, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="does not exist; create it first"):
        plotting.plot("zone-density", mlp, tmp_path / "missing" / "a.png")
    with pytest.raises(ValueError, match="connection-map has no option 'epochs'; it has: n_epochs, image_shape, zone"):
        plotting.plot("connection-map", mlp, epochs=3)
    with pytest.raises(ValueError, match="no run was given"):
        plotting.plot("connection-map", [])


def test_connection_map_holds_the_degrees(mlp):
    (row,) = connection_map.load([mlp], n_epochs=3)
    assert row.epochs.tolist() == [0, 5, 10]
    for epoch, image in zip(row.epochs, row.images):
        assert np.array_equal(image.ravel(), mlp.snapshots[epoch].layers[0].degree_pre)
    assert np.array_equal(row.zone.ravel(), mlp.zone_mask)
    assert row.last.verdict == "positive"


def test_connection_map_says_the_verdict(mlp, rbm, run_maker):
    assert title(plotting.plot("connection-map", mlp)).startswith("Positive learning: the active zone has 1.")
    assert title(plotting.plot("connection-map", rbm)).startswith("Negative learning")
    assert title(plotting.plot("connection-map", [mlp, rbm])).endswith("1 positive, 1 negative")
    without = run_maker(zone=False, n_epochs=1)
    assert title(plotting.plot("connection-map", without)).startswith("Unevenness of connections per input")


def test_one_colour_scale_for_all_maps(mlp, rbm):
    figure = plotting.plot("connection-map", [mlp, rbm])
    limits = {image.get_clim() for axes in figure.axes for image in axes.images}
    assert len(limits) == 1
    assert figure.axes[-1].get_ylabel() == "connections per input"


def test_images_need_a_shape(run_maker):
    run = run_maker(image_shape=None, n_epochs=1)
    for name in ("connection-map", "concentric-trend", "receptive-fields"):
        with pytest.raises(ValueError, match=rf"{name} draws the inputs as an image.*rows \* columns = 784"):
            plotting.plot(name, run)
    plotting.plot("connection-map", run, image_shape=(28, 28))
    with pytest.raises(ValueError, match="does not fit the 784 inputs"):
        plotting.plot("connection-map", run, image_shape=(28, 20))


def test_concentric_trend_over_time(mlp):
    table = concentric_trend.load([mlp], n_epochs=2)
    assert table.labels == ("epoch 0", "epoch 10")
    assert table.places.tolist() == list(range(2, 29, 2))
    assert table.curves[:, -1] == pytest.approx(5000 / 784)
    zone = mlp.zone_mask
    for curve, epoch in zip(table.curves, (0, 10)):
        assert curve[9] == pytest.approx(mlp.snapshots[epoch].layers[0].degree_pre[zone].mean())


def test_concentric_trend_says_where_the_middle_is_denser(mlp, rbm):
    assert "more connections per input than the whole image (epoch 10)" in title(plotting.plot("concentric-trend", mlp))
    assert "fewer connections per input" in title(plotting.plot("concentric-trend", rbm))
    both = concentric_trend.load([mlp, rbm])
    assert both.labels == ("MLP, L2 0.001, epoch 10", "RBM, L2 0, epoch 10")
    assert not both.over_time


def test_concentric_trend_averages_the_seeds_of_a_group(study_runs):
    table = concentric_trend.load(study_runs)
    means = table.means()
    assert list(means) == [f"{model}, L2 {l2}, mean of 2" for model in ("MLP", "RBM") for l2 in ("0", "0.01")]
    assert means["MLP, L2 0.01, mean of 2"] == pytest.approx(table.curves[2:4].mean(axis=0))


def test_a_random_wiring_has_no_finding(run_maker):
    claims = [title(plotting.plot("concentric-trend", run_maker(seed=seed, n_epochs=1))) for seed in range(12)]
    assert sum("by more than chance (epoch 1)" in claim for claim in claims) >= 11


def test_seeds_are_a_band_around_their_mean(study_runs):
    table = concentric_trend.load(study_runs)
    axes = plotting.plot("concentric-trend", study_runs).axes[0]
    (first, *others) = axes.collections
    assert len(others) == 3
    members = table.curves[table.members("MLP, L2 0"), 2:]  # without the noisy squares
    band = first.get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(members.max())
    assert band[:, 1].min() == pytest.approx(members.min())


def test_density_by_distance_is_that_of_the_rings(mlp):
    table = density_by_distance.load([mlp], n_epochs=2)
    assert table.places.tolist() == [place + 0.5 for place in range(-10, 6)]
    image = mlp.snapshots[10].layers[0].degree_pre.reshape(28, 28)
    assert table.curves[1, 0] == pytest.approx(image[13:15, 13:15].mean())
    assert table.errors[1, 0] == pytest.approx(image[13:15, 13:15].std(ddof=1) / 2)
    ring = np.concatenate([image[4, 4:24], image[23, 4:24], image[5:23, 4], image[5:23, 23]])
    assert table.curves[1, 9] == pytest.approx(ring.mean())
    found = title(plotting.plot("density-by-distance", mlp))
    inside, outside = (f"{table.curves[1, k]:.1f} ± {table.errors[1, k]:.1f}" for k in (9, 10))
    assert f"{inside} connections per input in the last pixel inside" in found
    assert f"{outside} in the first outside (epoch 10)" in found


def test_explored_counts_the_places_of_all_snapshots(mlp):
    first, last = (set(zip(layer.pre, np.repeat(range(64), layer.degree_post))) for layer in whole_layers(mlp))
    figure = plotting.plot("explored", mlp)
    share = 100 * len(first | last) / (784 * 64)
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([100 * 5000 / (784 * 64), share])
    assert f"At least {share:.0f}% of the places had a connection by epoch 10, 10.0% at first" in title(figure)


def whole_layers(run):
    return [snapshot.layers[0] for _, snapshot in sorted(run.snapshots.items()) if snapshot.layers[0].has_pattern]


def test_a_comparison_of_two_mlps_and_an_rbm(mlp, rbm, run_maker):
    other = run_maker(seed=5)
    table = comparison.load([mlp, rbm, other])
    assert np.isnan(table.distance[1, [0, 2]]).all()
    assert table.distance[0, 2] == nnstd(*(topology_distance.last_layers(run) for run in (mlp, other)), null=0)
    assert dict(table.rows())["distance to mlp-l2-0.001-seed-0 (random nets)"][1] == "-"
    assert "not measured" in [text.get_text() for text in plotting.plot("comparison", [mlp, rbm, other]).axes[-1].texts]


def test_degrees_of_different_nets_are_not_taken_together(study_runs, run_maker):
    plotting.plot("degree-distribution", study_runs[:2], bootstrap=0)
    with pytest.raises(ValueError, match=r"these are different nets: L2 0 784 x 64; L2 0\.01 784 x 64; draw them sep"):
        plotting.plot("degree-distribution", study_runs[:4], bootstrap=0)
    with pytest.raises(ValueError, match=r"different nets: MLP 784 x 64; RBM 784 x 64"):
        plotting.plot("degree-distribution", [run_maker(kind=kind, study=False) for kind in ("mlp", "rbm")])


def test_a_distance_stands_beside_the_null_of_its_pair(mlp):
    table = topology_distance.load([mlp])
    null = np.full(table.null.shape, 0.5)
    null[0, -1] = null[-1, 0] = 0.9
    figure = render(topology_distance, replace(table, null=null))
    assert title(figure).endswith("random ones are 0.90 apart")


def test_maps_of_several_runs_stand_side_by_side_where_they_move(study_runs, tmp_path):
    still = connection_map.stills(connection_map.load(study_runs[:4], n_epochs=2))[0]
    figure = render(connection_map, still)
    assert [axes.get_subplotspec().rowspan.start for axes in figure.axes[:6]] == [0, 0, 0, 1, 1, 1]
    assert title(figure).startswith("Verdict after epoch 0: ")


def test_a_long_rule_of_the_zone_is_cut(run_maker):
    run = run_maker(n_epochs=1)
    run.config["zone"]["rule"] = f"columns({tuple(range(400))})"
    figure = plotting.plot("zone-density", run)
    assert "active zone (columns, 400 inputs)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_density_by_distance_needs_zones_of_one_depth(mlp, run_maker):
    with pytest.raises(ValueError, match="has no zone; pass zone="):
        plotting.plot("density-by-distance", run_maker(zone=False, n_epochs=1))
    zone = central_square((28, 28), 10)
    plotting.plot("density-by-distance", run_maker(zone=False, n_epochs=1), zone=zone)
    other = run_maker(n_epochs=1)
    other.config["zone"]["inputs"] = np.flatnonzero(zone).tolist()
    with pytest.raises(ValueError, match="whose active zones have the same depth"):
        plotting.plot("density-by-distance", [mlp, other])


def test_zone_density_measures_every_snapshot(mlp):
    (line,) = zone_density.load([mlp])
    epochs, degrees = mlp.degrees()
    assert line.series.epochs.tolist() == epochs.tolist()
    for place, row in enumerate(degrees):
        expected = learning_index(row, mlp.zone_mask, 784 * 64)
        assert line.series.centre[place] == expected.centre_density
        assert line.series.margin[place] == expected.margin_density
        assert line.series.z[place] == expected.z
    assert line.rule == "central 20x20"


def test_zone_density_of_a_run_without_zone(run_maker):
    run = run_maker(zone=False, drift=0.5, n_epochs=1)
    with pytest.raises(ValueError, match=r"zone-density compares .* has no zone; pass zone=, a mask of its 784 inputs"):
        plotting.plot("zone-density", run)
    figure = plotting.plot("zone-density", run, zone=central_square((28, 28), 20))
    assert title(figure).startswith("Positive learning")


def test_learning_curves_of_an_mlp(mlp):
    loss, accuracy = learning_curves.load([mlp])
    assert (loss.metric, accuracy.metric) == ("loss", "accuracy")
    (curve,) = accuracy.curves
    assert curve.epochs.tolist() == list(range(11))
    assert np.isnan(curve.train[0])
    assert curve.train[1:].tolist() == [line["accuracy"] for line in mlp.metrics[1:]]
    assert curve.validation[1:].tolist() == [line["validation_accuracy"] for line in mlp.metrics[1:]]
    value = mlp.metrics[-1]["validation_accuracy"]
    assert title(plotting.plot("learning-curves", mlp)) == f"Validation accuracy {value:.1%} after 10 epochs"


def test_learning_curves_of_an_rbm(rbm):
    panels = learning_curves.load([rbm])
    assert [panel.metric for panel in panels] == ["loss", "pseudo_likelihood", "free_energy_gap"]
    assert [panel.split for panel in panels] == [True, False, False]
    assert title(plotting.plot("learning-curves", rbm)).startswith("Validation reconstruction error 0.0")


def test_learning_curves_of_groups_name_the_best_mean(study_runs):
    assert "accuracy at the end: best 95.4% (MLP, L2 0)" in title(plotting.plot("learning-curves", study_runs))


def test_learning_curves_without_any_metric(mlp):
    with pytest.raises(ValueError, match="needs a loss or an accuracy"):
        learning_curves.load([Run(mlp.config, [{"epoch": 0}], mlp.snapshots)])


def test_receptive_fields_hold_the_weights(mlp):
    table = receptive_fields.load([mlp], n=3)
    epoch, layer = mlp.last_pattern()
    assert table.epoch == epoch == 10
    assert table.fan_in.tolist() == sorted(layer.degree_post)[::-1][:3]
    for unit, image in zip(table.units, table.images):
        chosen = slice(layer.indptr[unit], layer.indptr[unit + 1])
        flat = image.ravel()
        assert flat[layer.pre[chosen]] == pytest.approx(layer.weight[chosen])
        assert np.flatnonzero(np.isfinite(flat)).tolist() == layer.pre[chosen].tolist()


def test_receptive_fields_refuse_what_they_cannot_draw(mlp, rbm):
    with pytest.raises(ValueError, match="draws one run, but 2 were given"):
        receptive_fields.load([mlp, rbm])
    with pytest.raises(ValueError, match="n of at least 1"):
        receptive_fields.load([mlp], n=0)
    degrees_only = Run(mlp.config, mlp.metrics, {1: mlp.snapshots[1]})
    with pytest.raises(ValueError, match="no snapshot with whole patterns"):
        receptive_fields.load([degrees_only])


def test_study_summary_takes_the_last_epoch_of_each_run(study_runs, run_maker):
    alone = run_maker(study=False, n_epochs=1)
    table = study_summary.load([alone, *study_runs])
    assert table.model.tolist() == ["mlp"] * 4 + ["rbm"] * 4
    assert table.cell.tolist() == ["L2 0", "L2 0", "L2 0.01", "L2 0.01"] * 2
    assert table.verdict.tolist() == ["none"] * 2 + ["positive"] * 2 + ["negative"] * 2 + ["none"] * 2
    last = learning_index(study_runs[2].snapshots[2].layers[0].degree_pre, study_runs[2].zone_mask, 784 * 64)
    assert (table.z[2], table.index[2]) == (last.z, last.index)
    assert table.quality[0] == study_runs[0].metrics[-1]["validation_accuracy"]
    assert table.quality[4] == study_runs[4].metrics[-1]["validation_loss"]
    mean = signed(table.z[:2].mean())
    assert title(plotting.plot("study-summary", study_runs)).startswith(f"MLP: mean z from {mean} (L2 0) to +")
    with pytest.raises(ValueError, match="none of the 1 runs has a study entry"):
        study_summary.load([alone])
    with pytest.raises(ValueError, match="measure='q' is not known"):
        plotting.plot("study-summary", study_runs, measure="q")


def test_study_summary_has_a_row_for_every_cell(grid_runs):
    table = study_summary.load(grid_runs[::-1])
    cells = table.cells("mlp")
    assert cells[:3] == [  # birth as it comes, zeta and l2 by size
        "birth zero, zeta 0.1, L2 0",
        "birth zero, zeta 0.1, L2 0.001",
        "birth zero, zeta 0.1, L2 linear(0,1e-3,5000)",
    ]
    assert cells[-1] == "birth same(normal(0.05)), zeta 0.5, L2 linear(0,1e-3,5000)"
    figure = plotting.plot("study-summary", grid_runs)
    left, right = figure.axes
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert len(labels) == 12
    assert labels[2] == "birth same(normal(0.05)), zeta 0.1\nL2 linear(0,1e-3,5000)"
    assert max(len(line) for label in labels for line in label.split("\n")) <= study_summary.LABEL
    dots = [line.get_xdata() for line in left.lines if line.get_marker() == "o"]
    assert np.concatenate(dots) == pytest.approx(study_summary.load(grid_runs).z)
    assert left.get_ylim() == right.get_ylim() == (11.5, -0.5)
    assert left.get_xlim()[0] <= 0 < left.get_xlim()[1]


def apart(texts, figure):
    """No two texts overlap, and all lie within the figure's width."""
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert all(box.x0 >= -1 and box.x1 <= figure.bbox.width + 1 for box in boxes)
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_labels_of_many_cells_do_not_overlap(grid_runs, study_runs):
    for runs in (grid_runs, study_runs):
        figure = plotting.plot("study-summary", runs)
        figure.draw_without_rendering()
        for left in figure.axes[::2]:
            apart(left.get_yticklabels(), figure)
        apart([figure._suptitle, *(axes.xaxis.label for axes in figure.axes)], figure)


@pytest.mark.parametrize("name", ["zone-density", "learning-curves", "concentric-trend"])
def test_lines_of_many_cells_go_into_several_pictures_on_one_scale(name, grid_runs):
    figure = plotting.plot(name, grid_runs)
    upper, lower = figure.subfigs
    assert [axes.get_ylim() for axes in upper.axes] == [axes.get_ylim() for axes in lower.axes]
    named = [[text.get_text() for text in part.legends[0].get_texts()] for part in (upper, lower)]
    for labels, birth in zip(named, ("same", "zero")):
        assert sum(label.startswith(f"birth {birth}") for label in labels) == 6
        assert len(labels) <= 8
    colours = {line.get_color() for line in upper.axes[0].lines}
    assert colours >= set(CATEGORIES[:6])
    assert title(figure)


def test_parts_are_equal_where_that_is_easy():
    assert [len(part) for part in in_parts(list("abcdefg"))] == [7]
    assert [len(part) for part in in_parts(list("abcdefgh"))] == [4, 4]
    assert [len(part) for part in in_parts(list("abcdefghi"))] == [3, 3, 3]
    assert [len(part) for part in in_parts(list("abcdefghijk"))] == [6, 5]
    assert [label for part in in_parts([str(n) for n in range(40)]) for label in part] == [str(n) for n in range(40)]
    assert in_parts([]) == [[]]


def test_cells_are_called_by_what_differs(run_maker):
    def label(*studies):
        return group_labels([run_maker(study=study, n_epochs=1) for study in studies])

    assert label({"l2": 0.0, "zeta": 0.1}, {"l2": 0.0, "zeta": 0.3}) == ["zeta 0.1", "zeta 0.3"]
    assert label({"l2": 0.0, "zeta": 0.1}) == ["MLP, L2 0, zeta 0.1"]  # nothing differs
    assert label({"l2": 0.0}, {"l2": 0.0, "zeta": 0.1}) == ["MLP, L2 0", "MLP, L2 0, zeta 0.1"]
    assert label({"hidden": [256, 64]}, {"hidden": 20}) == ["hidden 256-64", "hidden 20"]
    assert label({"evolution": None}, {"evolution": "set"}) == ["evolution none", "evolution set"]
    assert label({"zeta": 0.1}, {"zeta": 0.1000001}) == ["zeta 0.1", "zeta 0.1000001"]
    same = "steps((0.1, 0.01, 0.001), (100, 20"
    long = label({"allow_return": True, "l2": f"{same}0))"}, {"allow_return": False, "l2": f"{same}0))"})
    assert long == ["allow return True", "allow return False"]
    cut = label({"l2": f"{same}0))"}, {"l2": "cosine(0, 1e-3, 5000)"})
    assert cut == ["L2 steps((0.1,0.01,0.001),(100…", "L2 cosine(0,1e-3,5000)"]
    assert label({"l2": f"{same}0))"}, {"l2": f"{same}5))"}) == [  # whole, where cut they would be the same
        "L2 steps((0.1,0.01,0.001),(100,200))",
        "L2 steps((0.1,0.01,0.001),(100,205))",
    ]


def test_two_runs_of_one_name_stay_apart(run_maker):
    runs = [run_maker(study=False, drift=drift, n_epochs=1) for drift in (0.5, -0.5)]
    table = concentric_trend.load(runs)
    assert table.groups == ("mlp-l2-0-seed-0", "mlp-l2-0-seed-0 (2)")


def test_epochs_are_thinned_evenly_with_both_ends():
    assert spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4) == [0, 3, 6, 9]
    assert spread([0, 5], 6) == [0, 5]
    assert spread([7], 6) == [7]
    with pytest.raises(ValueError, match="use 2 or more"):
        spread([0, 1], 1)


def test_long_names_take_a_legend_with_fewer_columns():
    assert legend_shape(["epoch 0"] * 6) == (2, 4)
    assert legend_shape(["n" * 30] * 6) == (3, 2)
    assert legend_shape(["n" * 200] * 3) == (3, 1)


def test_a_run_without_snapshots_is_explained(mlp):
    with pytest.raises(ValueError, match="has no topology snapshots"):
        plotting.plot("zone-density", Run(mlp.config, mlp.metrics, {}))


def test_names_with_dollar_signs_are_names(run_maker, tmp_path):
    run = run_maker(name=r"a$\x$b")
    for name in ("connection-map", "zone-density", "concentric-trend", "learning-curves"):
        plotting.plot(name, [run, run_maker(name="b")], tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


# -- topology-distance -------------------------------------------------------------------------------------------------


def test_distances_of_one_run_over_time(mlp):
    table = topology_distance.load([mlp])
    whole = [epoch for epoch in sorted(mlp.snapshots) if mlp.snapshots[epoch].layers[0].has_pattern]
    assert table.epochs.tolist() == whole
    first, last = (topology_distance.layers_of(mlp.snapshots[epoch]) for epoch in (whole[0], whole[-1]))
    assert table.distance[0, -1] == nnstd(first, last, null=0)
    assert title(plotting.plot("topology-distance", mlp)).startswith(f"From epoch {whole[0]} to {whole[-1]}")


def test_distances_between_runs(study_runs):
    runs = study_runs[:3]
    table = topology_distance.load(runs)
    assert table.runs.tolist() == [0, 0, 1, 1, 2, 2]
    assert table.distance.shape == (6, 6)
    text = title(plotting.plot("topology-distance", runs))
    ends = [table.distance[i, j] for i, j in ((1, 3), (1, 5), (3, 5))]
    assert f"{np.mean(ends):.2f} at last" in text


def test_a_run_without_patterns_has_no_distances(mlp):
    snapshots = {
        epoch: Snapshot(epoch, tuple(LayerSnapshot(each.degree_pre, each.degree_post) for each in shot.layers))
        for epoch, shot in mlp.snapshots.items()
    }
    with pytest.raises(ValueError, match="has no snapshot with whole patterns; train with snapshot_every=1"):
        plotting.plot("topology-distance", Run(mlp.config, mlp.metrics, snapshots))


def test_nets_of_different_depth_have_no_distances(mlp, rbm):
    with pytest.raises(
        ValueError,
        match="compares nets with as many layers and inputs: .* has 2 layers over 784 inputs, .* has 1 layers over",
    ):
        plotting.plot("topology-distance", [mlp, rbm])


def test_places_in_a_plane_keep_their_distances():
    places = np.random.default_rng(0).normal(size=(7, 2))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    found, share = topology_distance.embedded(distance)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), distance, atol=1e-9)
    assert abs(share - 1) < 1e-9
    assert topology_distance.embedded(np.zeros((2, 2)))[1] == 1


# -- animation ---------------------------------------------------------------------------------------------------------


def test_a_map_that_moves(mlp, study_runs, tmp_path):
    from PIL import Image

    figure = plotting.plot("connection-map", mlp, tmp_path / "map.gif", n_epochs=5)
    with Image.open(tmp_path / "map.gif") as picture:
        assert picture.n_frames == 5
        assert picture.size[0] == 650
    assert "epoch" in title(figure)
    moments = connection_map.stills(connection_map.load([mlp], n_epochs=5))
    whole = connection_map.load([mlp], n_epochs=5)
    assert [moment[0].epochs[0] for moment in moments] == whole[0].epochs.tolist()
    assert len({moment[0].limits for moment in moments}) == 1
    assert [moment[0].last for moment in moments] == list(whole[0].indices)
    plotting.plot("connection-map", study_runs[:2], tmp_path / "two.gif", n_epochs=2)
    with pytest.raises(ValueError, match="figure zone-density does not move; save it as"):
        plotting.plot("zone-density", mlp, tmp_path / "zone.gif")


# -- comparison --------------------------------------------------------------------------------------------------------


def test_runs_beside_one_another(study_runs):
    table = comparison.load(study_runs[:3])
    rows = dict(table.rows())
    assert rows["validation loss"] == [f"{run.metrics[-1]['validation_loss']:.4g}" for run in study_runs[:3]]
    assert table.distance.shape == (3, 3)
    figure = plotting.plot("comparison", study_runs[:3])
    assert "random ones with as many connections" in title(figure)
    with pytest.raises(ValueError, match="comparison needs two runs or more"):
        plotting.plot("comparison", study_runs[0])


def test_a_comparison_without_zone_and_without_distance(mlp, rbm):
    bare = Run(mlp.config | {"zone": None}, mlp.metrics, mlp.snapshots)
    table = comparison.load([bare, Run(rbm.config | {"zone": None}, rbm.metrics, rbm.snapshots)])
    assert table.distance is None
    assert "the nets have other numbers of layers or inputs (mlp-l2-0.001-seed-0: 2 over 784 inputs;" in table.why
    assert not any(table.indices)
    plotting.render(comparison, table).draw_without_rendering()
