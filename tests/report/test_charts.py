import pytest

from prunelle.report.charts import cost_charts, curve_charts, layer_choices
from prunelle.report.style import colors_of

ROWS = [
    {"run": "r", "variant": "dense", "seed": 0, "top1": 0.92, "size_bytes": 1_000_000, "macs_nonzero": 40_000_000},
    {"run": "r", "variant": "pruned", "seed": 0, "top1": 0.93, "size_bytes": 250_000, "macs_nonzero": 1_000_000},
    {"run": "<b>s", "variant": "pruned", "seed": 0, "top1": 0.90, "size_bytes": 100_000},
    {"run": "s", "variant": "pruned", "seed": 0, "top1": None, "size_bytes": 100_000},
]
TIMED = {"latency_median_ms": 2.0, "runtime": "eager", "batch": 1, "threads": 1}
LAYERS = [
    {"run": "r", "layer": "fc1", "params_before": 100, "params_after": 25, "macs_before": 90, "macs_after": 20},
    {"run": "r", "layer": "fc1", "params_before": 1, "params_after": 1, "macs_before": 1, "macs_after": 1},
    {"run": "s", "layer": "a" * 40, "params_before": 10, "params_after": 0, "macs_before": None, "macs_after": None},
]


def traces(chart):
    return {trace["meta"]: trace for trace in chart.figure["data"]}


def test_accuracy_against_size_by_hand():
    (size, macs), legend = cost_charts(ROWS)
    drawn = traces(size)
    assert (drawn["r · dense"]["x"], drawn["r · dense"]["y"]) == ([1000.0], [92.0])
    assert drawn["r · dense"]["marker"]["symbol"] != drawn["r · pruned"]["marker"]["symbol"]
    assert drawn["r · dense"]["marker"]["color"] == drawn["r · pruned"]["marker"]["color"]
    assert (drawn["Pareto front"]["x"], drawn["Pareto front"]["y"]) == ([100.0, 250.0, 1000.0], [90.0, 93.0, 93.0])
    assert size.figure["layout"]["xaxis"]["title"]["text"] == "Size of what is shipped (KB)"
    assert macs.figure["layout"]["xaxis"]["type"] == "log", "40 times apart"
    assert [entry.meta for entry in legend] == ["Pareto front", "r · dense", "r · pruned", "<b>s · pruned"]


def test_names_are_escaped_for_plotly_which_reads_tags():
    (size, _), _ = cost_charts(ROWS)
    trace = traces(size)["<b>s · pruned"]
    assert trace["name"] == "&lt;b&gt;s · pruned" and "<b>&lt;b&gt;s" in trace["text"][0]


def test_latencies_taken_alike_get_a_front_and_others_none():
    alike, _ = cost_charts([row | TIMED for row in ROWS[:2]])
    assert "Pareto front" in traces(alike[2])
    assert alike[2].figure["layout"]["xaxis"]["title"]["text"] == "Median latency (ms, batch 1, 1 thread)"
    mixed, _ = cost_charts([ROWS[0] | TIMED, ROWS[1] | TIMED | {"threads": 4}])
    assert "Pareto front" not in traces(mixed[2])


def test_accuracy_against_sparsity_where_several_were_tried():
    sparse = [row | {"sparsity": share} for row, share in zip(ROWS, (0.0, 0.8, 0.9, None), strict=True)]
    charts, _ = cost_charts(sparse)
    drawn = traces(charts[-1])
    assert charts[-1].title == "Accuracy against sparsity"
    assert drawn["r · pruned"]["x"] == [80.0] and "Pareto front" not in drawn
    one = [row | {"sparsity": 0.8} for row in ROWS[1:2]]
    assert "Accuracy against sparsity" not in [chart.title for chart in cost_charts(one)[0]]


def test_layers_once_per_run_with_the_share_left():
    r, s = layer_choices(LAYERS)
    assert (r.run, len(r.charts), s.run, len(s.charts)) == ("r", 2, "s", 1)
    before, after = r.charts[0].figure["data"]
    assert (before["x"], after["x"], before["text"]) == ([100], [25], ["25.0 %"])
    assert len(s.charts[0].figure["layout"]["yaxis"]["ticktext"][0]) == 22


def test_curves_share_the_colour_of_their_run_and_keep_gaps():
    points = [{"epoch": 1, "val_top1": 0.5, "sparsity": 0.0}, {"epoch": 2, "val_top1": None, "sparsity": 0.123456}]
    curves = [{"name": f"r seed {seed}", "run": "r", "points": points} for seed in range(2)]
    charts, legend = curve_charts(curves)
    assert [chart.key for chart in charts] == ["curve-top1", "curve-sparsity"], "no loss, no learning rate"
    first, second = charts[0].figure["data"]
    assert first["y"] == [50.0, None] and (first["x0"], first["dx"]) == (1, 1)
    assert first["line"]["color"] == second["line"]["color"] and len(legend) == 1
    assert charts[1].figure["data"][0]["y"] == [0.0, 12.35]


def test_unevenly_spaced_epochs_are_kept_as_they_are():
    points = [{"epoch": epoch, "lr": 0.1} for epoch in (1, 2, 10)]
    charts, _ = curve_charts([{"name": "c", "points": points}])
    assert charts[0].figure["data"][0]["x"] == [1, 2, 10]


def test_nothing_gives_no_chart():
    assert cost_charts([]) == ([], []) and layer_choices([]) == [] and curve_charts([]) == ([], [])
    assert curve_charts([{"name": "empty", "points": []}]) == ([], [])


def test_colours_are_all_different():
    names = [str(index) for index in range(60)]
    assert len(set(colors_of(names).values())) == 60


def test_plotly_accepts_every_figure():
    graph_objects = pytest.importorskip("plotly.graph_objects", reason="needs prunelle[report]")
    curves = [{"name": "c", "points": [{"epoch": 1, "train_loss": 1.0, "lr": 0.1}, {"epoch": 2, "train_loss": 0.5}]}]
    charts = [*cost_charts([row | TIMED for row in ROWS])[0], *curve_charts(curves)[0]]
    charts += [chart for choice in layer_choices(LAYERS) for chart in choice.charts]
    assert {chart.key.split("-")[0] for chart in charts} == {"cost", "curve", "layers"}
    for chart in charts:
        graph_objects.Figure(chart.figure)
