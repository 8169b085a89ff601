"""A report as one HTML file that needs no network: data, style and plotly's own script stand inside it."""

from pathlib import Path

from prunelle.errors import MissingExtraError
from prunelle.report.cells import kilobytes, sort_key
from prunelle.report.charts import cost_charts, curve_charts, layer_choices
from prunelle.report.embed import packed_json, script_hash
from prunelle.report.flips import flips_sentence, flips_table
from prunelle.report.groups import timing_settings
from prunelle.report.headline import headline
from prunelle.report.rows import Report, Row, write_text
from prunelle.report.tables import all_rows

HERE = Path(__file__).parent


def write_page(report: Report, path: Path | str) -> Path:
    """Write the report as one offline HTML file and return its path; folders on the way are made.

    Raises MissingExtraError without Jinja2 or plotly, DiskError when the disk refuses.
    """
    target = Path(path)
    write_text(target, page_html(report))
    return target


def page_html(report: Report) -> str:
    """The page as text. Whatever the report's strings hold is shown as it stands, never read as HTML or script.

    A Content-Security-Policy admits only our two scripts, by their hashes, and no request at all.
    Raises MissingExtraError without Jinja2 or plotly.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(
            f"report page: {error.name} is not installed; to write HTML, run `pip install prunelle[report]`."
        ) from None
    costs, cost_legend = cost_charts(report.rows)
    curves, curve_legend = curve_charts(report.curves)
    flips = report.flips or {}
    layers = layer_choices(report.layers)
    charts = [*costs, *(chart for choice in layers for chart in choice.charts), *curves]
    scripts = [_read("sort.js") + _read("page.js")] + ([get_plotlyjs()] if charts else [])
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        report=report,
        headline=headline(report.rows) if report.rows else None,
        costs=costs,
        cost_legend=cost_legend,
        front_left_out=len(timing_settings(report.rows)) > 1,
        layers=layers,
        curves=curves,
        curve_legend=curve_legend,
        table=all_rows(report.rows) if report.rows else None,
        flips=flips_table(flips) if flips.get("per_class") else None,
        flips_sentence=flips_sentence(flips),
        environment=_flat(report.environment),
        kilobytes=kilobytes,
        sort_key=sort_key,
        style=Markup(_read("page.css")),
        script=Markup(scripts[0]),
        plotly=Markup(scripts[1]) if charts else "",
        hashes=[script_hash(script) for script in scripts],
        figures=packed_json({chart.key: chart.figure for chart in charts}),
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _flat(values: Row, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as (dotted name, text) pairs; what is None is left out."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs
