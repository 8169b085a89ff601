"""The page of a search for tickets: who won stands first, figures are the rows', names are text, nothing is fetched."""

import re

import pytest

from prunelle.errors import DiskError
from prunelle.report.embed import script_hash
from prunelle.report.plain import styles
from prunelle.report.tickets import tickets_html, write_tickets_page
from prunelle.report.tickets_tables import gain_kind

from .test_fitted import Page, words
from .ticket_rows import DENSE, PLAN, ROWS, WINNER, points_of, report, row, skipped, three

EVIL = "<script>x</script>&\"'"


@pytest.fixture(scope="module")
def page() -> str:
    return tickets_html(report())


def read(html: str) -> str:
    """What is read, without scripts too, spaces plain."""
    return words(re.sub(r"<script>.*?</script>", "", html, flags=re.S)).replace("\u00a0", " ")


def test_the_made_up_points_are_those_of_a_search():
    from prunelle.tickets import results

    assert results.points_of(ROWS) == points_of(ROWS)
    assert results.points_of([*ROWS, skipped("ticket", 0.01, 0, 0)]) == points_of(ROWS)


def test_the_first_screen_says_who_won_and_by_how_much(page):
    first = read(page.split('<section id="beside"')[0])
    assert (
        "The winning ticket keeps 4 % of the weights, matches the dense network and beats every control by at least "
        "0.45 points." in first
    )
    assert "rewound to epoch 0.5 (update 100). On the test split it reaches 98.05 % (98.05 to 98.35), 3 seeds" in first
    assert (
        "random masks by 0.95 points (97.10 %, 97.00 to 97.20) and fresh weights by 0.45 points (97.60 %, 97.50"
        in first
    )
    assert "It is saved in out/model.json : seed 2, of its 3 seeds the best on the validation split, 98.35 %" in first
    assert "Ahead of the controls +0.45 points against fresh weights, the closest of 2 controls ✓ more" in first
    assert "No training was ended early." in first and '<section id="answer">' in page


def test_every_section_is_there_and_linked(page):
    ids = ["answer", "beside", "accuracy", "gain", "barrier", "plan", "trial", "trainings", "notes", "files", "command"]
    sections = [one["id"] for one in Page(page).all("section")]
    assert sections == [*ids, "environment"]
    assert [one["href"] for one in Page(page).all("a")] == [f"#{key}" for key in sections]


def test_an_empty_search_is_told_without_empty_sections():
    rows = three("dense", 1.0, 0, *DENSE)
    html = tickets_html(
        report(rows, winner=None, plan=None, arrangement=None, notes=[], files=[], environment={}, command="")
    )
    assert "No ticket was trained to its end, so there is none to name." in read(html)
    assert [one["id"] for one in Page(html).all("section")] == ["answer", "trainings"]
    assert '<section id="answer" class=missed>' in html


def test_nothing_matched():
    html = tickets_html(report(winner=WINNER | {"matches": False}))
    assert "No ticket matches the dense network; the best one keeps 4 % of the weights." in read(html)
    assert '<section id="answer" class=missed>' in html and "The best ticket beside its controls" in html
    assert "best, 4 %" in html and "winner, 4 %" not in html


def test_a_winner_that_fails_on_test_is_not_green():
    rows = [*ROWS, *three("ticket", 0.02, 100, 0.970, 0.971, 0.972)]
    html = tickets_html(report(rows, winner=WINNER | {"kept": 0.02}))
    assert "matches the dense network on the validation split, but not on the test split" in read(html)
    assert '<section id="answer" class=unsure>' in html


def test_one_seed_has_no_band():
    html = tickets_html(report([one for one in ROWS if one["seed"] == 2]))
    told = read(html)
    assert "it is ahead of every control, but with a single seed." in told and "one seed, so there is no band" in told
    assert "A mark is one training" in told and 'fill-opacity="0.13"' not in html
    assert "±" not in told and '<section id="answer" class=unsure>' in html


def test_no_controls():
    html = tickets_html(report([one for one in ROWS if one["variant"] in ("dense", "ticket")]))
    assert "no control was trained beside it" in read(html) and 'class="at at0"' not in html
    assert not {"beside", "barrier"} & {one.get("id") for one in Page(html).all("section")}


def test_what_diverged_or_was_skipped_is_counted_and_listed():
    rows = [
        *ROWS,
        row("ticket", 0.02, 0, 0, 0.1, status="diverged", val_loss=float("nan")),
        skipped("ticket", 0.01, 0, 0),
    ]
    html = tickets_html(report(rows))
    assert "1 of 29 trainings diverged, and 1 was skipped, as the ticket before had no hope" in read(html)
    table = html.split('id="rows"')[1].split("</table>")[0]
    assert table.count("<tr") == 1 + 29 and table.count("<td>skipped</td>") == 1 and "NaN" not in table


def test_strings_are_text_everywhere():
    rows = [one | {"run": EVIL, "how": EVIL} for one in ROWS]
    changed = {
        "title": EVIL, "command": EVIL, "summary": [EVIL], "winner": WINNER | {"path": EVIL}, "notes": [EVIL],
        "files": [{"path": EVIL, "bytes": None, "what": EVIL}], "environment": {EVIL: EVIL}, "metric": EVIL,
        "arrangement": {"whole": EVIL, "rates": [{"how": EVIL, "together": 1, "kept": 1.0, "seconds": 0.1}]},
        "plan": PLAN | {"limits": [{"what": EVIL, "seconds": 1.0}]},
    }  # fmt: skip
    html = tickets_html(report(rows, **changed))
    assert EVIL not in html and len(Page(html).all("script")) == 1 and html.count("&lt;script&gt;") > 60
    assert [name for _, attributes in Page(html).seen for name in attributes if name.startswith("on")] == []


def test_the_policy_admits_sorting_alone_and_no_request(page):
    policy = next(one["content"] for one in Page(page).all("meta") if one.get("http-equiv"))
    assert f"script-src '{script_hash(styles('sort.js'))}';" in policy and policy.startswith("default-src 'none';")
    assert [attributes for _, attributes in Page(page).seen if "src" in attributes] == []
    assert "http" not in page.replace("http-equiv", "")


def test_gains_by_hand(page):
    table = page.split('id="gain"')[1].split("</table>")[0]
    cells = [read(cell) for cell in re.findall(r"<td[^>]*>.*?</td>", table)]
    assert [cell.strip() for cell in cells] == [
        "50 %", "−0.10 ✓ ± 0.00", "+0.10 ✓ ± 0.00",
        "4 %", "−1.00 ✗ ± 0.00", "+0.05 winner ± 0.25",
    ]  # fmt: skip


def test_which_gains_can_be_told():
    point = {"num_seeds": 3, "gain_low": -0.0009, "gain_high": 0.002}
    assert gain_kind(point, 0.001) == "match" and gain_kind(point | {"num_seeds": 1}, 0.001) == "open"
    assert gain_kind(point | {"gain_low": -0.003, "gain_high": -0.002}, 0.001) == "miss"
    assert gain_kind(point | {"gain_low": -0.003, "gain_high": 0.0}, 0.001) == "open"


def test_the_trial_by_hand(page):
    told = read(page.split('id="trial"')[1].split("</section>")[0])
    assert "Chosen: fused, with less than 12.5 % of the weights kept: sparse." in told
    # 2 processes, 2 ms an update each: 1,000 updates a second, 4 times one process at 4 ms.
    assert "plain 1 1 100 % 4.00 250 1.00" in told and "fused 2 1 100 % 2.00 1,000 4.00" in told


def test_legends_are_boxes_of_the_lines_that_there_are(page):
    boxes = {one["id"]: one for one in Page(page).all("input")}
    assert set(boxes) == {"r-0", "r-1", "at-0", "at-1", "v-ticket", "v-random", "v-reinit"}
    assert "checked" in boxes["at-1"] and "checked" not in boxes["at-0"], "the winner's rewinding point is shown first"
    assert "#accuracy:has(#r-1:not(:checked)) .r1 { display: none; }" in page


def test_three_hundred_trainings_stay_light():
    kept = [round(0.9 - 0.04 * n, 2) for n in range(20)]
    many = [one for k in kept for r in range(0, 500, 100) for one in three("ticket", k, r, 0.97, 0.98, 0.99)]
    html = tickets_html(report([*ROWS, *many]))
    assert html.count("<tr") > 300 and len(html) < 300_000


def test_it_is_written_whole_or_not_at_all(tmp_path):
    path = write_tickets_page(report(), tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == tickets_html(report())
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError):
        write_tickets_page(report(), tmp_path / "file" / "report.html")
