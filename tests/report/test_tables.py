from prunelle.report.cells import percent, points, ratio, significant
from prunelle.report.flips import flips_sentence, flips_table
from prunelle.report.headline import headline
from prunelle.report.tables import all_rows

TIMED = {"latency_median_ms": 2.0, "runtime": "eager", "batch": 1, "threads": 1}
DENSE = {"run": "r", "variant": "dense", "seed": 0, "top1": 0.92, "size_bytes": 1_000_000, "sparsity": 0.0} | TIMED
PRUNED = {"run": "r", "variant": "pruned", "seed": 0, "top1": 0.91, "size_bytes": 250_000, "sparsity": 0.9} | TIMED


def line(table, index):
    return {column.header: cell for column, cell in zip(table.columns, table.lines[index], strict=True)}


def test_numbers_as_text():
    assert [significant(v) for v in (1234567, 123.4, 12.34, 1.234, 0.1234, 0.01234, 0.00123, 0)] == (
        ["1,234,567", "123", "12.3", "1.23", "0.123", "0.0123", "0.00123", "0"]
    )
    assert (percent(0.98765), points(-0.0123), points(0.0123), points(-1e-9)) == ("98.77", "−1.23", "+1.23", "0.00")
    assert (ratio(1.0), ratio(0.037)) == ("1.00", "0.037")


def test_headline_gives_medians_spread_and_the_change_at_the_same_seed():
    second = [{**DENSE, "seed": 1, "top1": 0.94}, {**PRUNED, "seed": 1, "top1": 0.95, "size_bytes": 270_000}]
    table = headline([DENSE, PRUNED, *second])
    dense, pruned = line(table, 0), line(table, 1)
    assert table.marks == ["dense", "pruned"]
    assert (dense["Top-1 (%)"].text, dense["Top-1 (%)"].detail) == ("93.00", "92.00 … 94.00")
    assert (pruned["Change (points)"].text, pruned["Change (points)"].detail) == ("0.00", "−1.00 … +1.00")
    assert (pruned["Size (KB)"].text, pruned["Size (KB)"].title) == ("260.0", "260000 bytes")
    assert (pruned["Size / dense (×)"].text, pruned["Size / dense (×)"].detail) == ("0.26", "0.25 … 0.27")
    assert dense["Change (points)"].missing
    assert "Nonzero MACs (M)" not in pruned, "a column without a value is left out"


def test_a_single_model_shows_its_measured_interval():
    table = headline([{**DENSE, "top1_low": 0.91, "top1_high": 0.93}])
    assert line(table, 0)["Top-1 (%)"].detail == "91.00 … 93.00"


def test_a_speedup_whose_intervals_hold_one_is_no_change():
    masked = {**PRUNED, "latency_ratio": 1.01, "ratio_low": 0.99, "ratio_high": 1.03}
    faster = {**PRUNED, "seed": 1, "latency_ratio": 1.5, "ratio_low": 1.4, "ratio_high": 1.6}
    assert line(headline([masked]), 0)["Speedup (×)"].detail == "no change"
    assert line(headline([masked, faster]), 0)["Speedup (×)"].detail == "1.01 … 1.50"
    assert line(headline([faster]), 0)["Speedup (×)"].detail == "1.40 … 1.60"


def test_latencies_of_several_settings_get_no_median():
    table = headline([PRUNED, {**PRUNED, "seed": 1, "batch": 64}])
    assert line(table, 0)["Latency (ms)"].text == "mixed"


def test_diverged_models_are_counted_not_dropped():
    cell = line(headline([PRUNED, {**PRUNED, "seed": 1, "diverged": True}]), 0)["Models"]
    assert (cell.text, cell.detail) == ("2", "1 diverged")


def test_all_rows_shows_units_exact_bytes_and_leaves_out_empty_columns():
    table = all_rows([DENSE, {**PRUNED, "id": "0123456789abcdef0123", "loss": float("nan"), "extra": 3}])
    headers = [column.header for column in table.columns]
    assert "Size (KB)" in headers and "MACs (M)" not in headers and headers[-1] == "extra"
    cells = line(table, 1)
    assert (cells["Size (KB)"].text, cells["Size (KB)"].title, cells["Size (KB)"].sort) == (
        "250.0",
        "250,000 bytes",
        250000,
    )
    assert cells["Top-1 (%)"].text == "91.00" and cells["Loss"].missing
    assert cells["Id"].text == "0123456789abcde…" and cells["Id"].title == "0123456789abcdef0123"


def test_flips_by_hand():
    flips = {
        "class_names": ["cat", "dog"],
        "per_class": [
            {"class": 1, "num": 50, "top1_before": 0.9, "top1_after": 0.86, "lost": 3, "gained": 1},
            {"class": "bird", "num": 50, "top1_before": 0.9, "top1_after": None, "lost": 0, "gained": 2},
        ],
    }
    dog, bird = flips_table(flips).lines
    assert [cell.text for cell in dog] == ["dog", "50", "90.00", "86.00", "−4.00", "3", "1"]
    assert bird[0].text == "bird" and bird[4].missing
    assert flips_sentence(flips) == (
        "Right before and wrong after: 3; wrong before and right after: 3, of 100 test samples."
    )
