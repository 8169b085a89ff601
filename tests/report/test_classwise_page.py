"""The page of a class-wise network: what it reaches and costs stands first, figures are the rows', names are text."""

import re

import pytest

from prunelle.errors import DiskError
from prunelle.report.classwise import classwise_html, write_classwise_page
from prunelle.report.classwise_heat import MOST_CLASSES
from prunelle.report.classwise_scale import OWN, scale_of
from prunelle.report.embed import script_hash
from prunelle.report.plain import styles

from .classwise_rows import COMBINED, CONFUSION, GROUPINGS, GROUPS, MEMBERS, NAMES, ROWS, SPEED, TRIALS, WHOLE, many
from .classwise_rows import report as report_of
from .test_fitted import EVIL, Page, words

IDS = ["answer", "groups", "similarity", "confusion", "speed", "compared", "layers", "notes", "files", "command"]


@pytest.fixture(scope="module")
def page() -> str:
    return classwise_html(report_of())


def read(html: str) -> str:
    """What is read, without scripts and tooltips, spaces plain."""
    html = re.sub(r"<script>.*?</script>|<title>.*?</title>", "", html, flags=re.S)
    return words(html).replace("\u00a0", " ")


def part(html: str, key: str) -> str:
    """A section."""
    return html.split(f'<section id="{key}"')[1].split("</section>")[0]


def test_the_first_screen_says_what_it_reaches_and_what_it_costs(page):
    told = read(part(page, "answer"))
    for said in (
        "2 members of at most 0.48 × the multiply-adds answer together with 82.50 % top-1, the whole network with "
        "85.00 %.",
        "The change is −2.50 points on 40 test images.",
        "All members together cost 0.85 × the multiply-adds of the whole network and hold 0.70 × its parameters.",
        "Members side by side answer one image in 1.25 ms with native, 1.60 (1.55 to 1.65) times as fast as the whole "
        "network (2 threads, 2.00 ms). The same network cut as one takes 1.00 ms, 2.00 (1.90 to 2.10) times as fast as "
        "the whole: faster than the members.",
        "It is saved in out/ ,",
        "82.50 % 68.00 to 91.00, 40 test images whole network 85.00 %, change −2.50 points",
        "Largest of 2 members 0.48 × 19.20 M of 40.00 M multiply-adds",
        "All members together 0.85 × 34.00 M of 40.00 M multiply-adds parameters 0.70 ×, 189,000 of 270,000 its folder "
        "800.0 KB, the whole network 1,080.0 KB",
        "1.60 × as fast 1.25 ms against 2.00 ms (whole, 2 threads) native, 1.55 to 1.65",
        "Member-epochs saved 20.0 % 4 of 20 left out by early stopping",
    ):
        assert said in told, said


def test_members_that_cost_more_than_the_whole_say_so():
    told = read(classwise_html(report_of(combined=COMBINED | {"macs": 96_000_000, "params": 540_000})))
    assert (
        "cost 2.40 × the multiply-adds of the whole network and hold 2.00 × its parameters: the work is spread, not"
        in told
    )


def test_members_that_are_not_faster_say_so():
    slow = [SPEED[0], SPEED[1] | {"ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6}]
    assert "0.50 (0.40 to 0.60) times as fast as the whole network (2 threads, 2.00 ms), which is slower." in read(
        classwise_html(report_of(speed=slow))
    )
    same = read(classwise_html(report_of(speed=SPEED[4:])))
    assert "which is no clear gain." in same and "cut as one" not in same
    weak = SPEED[3] | {"ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.3}
    assert "the whole: slower than the members." in read(classwise_html(report_of(speed=[*SPEED[:2], weak])))
    like = SPEED[3] | {"ratio": 1.62, "ratio_low": 1.6, "ratio_high": 1.7}
    assert "the whole: as fast as the members, as far as" in read(classwise_html(report_of(speed=[*SPEED[:2], like])))


def test_every_section_is_there_in_order_and_linked(page):
    sections = [one["id"] for one in Page(page).all("section")]
    assert sections == [*IDS, "environment"]
    assert [one["href"] for one in Page(page).all("a")] == [f"#{key}" for key in sections]


def test_empty_parts_are_left_out():
    lists = ("speed", "trials", "groupings", "similarity", "rows", "confusion", "members", "notes", "files")
    empty: dict = dict.fromkeys(lists, ())
    html = classwise_html(report_of(**empty, command="", environment={}, saved=None))
    assert [one["id"] for one in Page(html).all("section")] == ["answer"]
    told = read(html)
    assert "Members side by side" not in told and "early stopping" not in told and "Largest of 2 members" in told


def test_what_early_stopping_would_leave_out_where_it_is_audited():
    audited = {"epochs": 16, "epochs_saved": 4, "share": 0.2, "cost": 0.0012, "cost_low": -0.001, "cost_high": 0.0034}
    told = read(classwise_html(report_of(saved=audited)))
    assert (
        "Member-epochs that can be saved 20.0 % 4 of 20 that early stopping would leave out; all were trained" in told
    )
    assert "to the end members answer +0.12 points better together (-0.10 to +0.34)" in told
    alone = read(classwise_html(report_of(saved=audited | {"cost_low": None, "cost_high": None})))
    assert "to the end members answer +0.12 points better together" in alone and "(-0.10" not in alone


def test_the_members_by_hand(page):
    told = read(part(page, "groups"))
    assert "clusters of equal size (balanced k-means)" in told and "The 2 members" in told
    assert (
        "1 cat, dog 19.20 0.48 × 108,000 0.40 × 400.0 8 2 saved 90.00 89.00 1.25 −0.50 2 car, van 14.80 0.37 ×" in told
    )
    assert " ms " not in told, "no member was timed, so there is no such column"
    timed = [MEMBERS[0] | {"latency_ms": 1.5}, MEMBERS[1]]
    assert "1.25 −0.50 1.50 2 car, van" in read(part(classwise_html(report_of(members=timed)), "groups"))


def cells_of(svg: str) -> list[tuple[str, str]]:
    """(colour, tooltip) of every cell."""
    return re.findall(r'<rect [^>]*fill="(#\w+)"[^>]*><title>(.*?)</title>', svg)


def test_the_similarity_map_stands_in_the_order_of_the_groups(page):
    map_of = part(page, "similarity")
    cells = cells_of(map_of)
    assert len(cells) == 16 and cells[0] == (OWN, "cat, cat: 1.00")
    # The largest but for a class with itself is 0.8: dark blue; −0.4 is half way to orange.
    assert cells[1] == ("#08519c", "cat, dog: 0.80") and cells[2] == ("#d29a81", "cat, car: −0.40")
    shown = [one[1] for one in re.findall(r'<text( class="light")? x="[\d.]+" y="[\d.]+">([−\d.]+)<', map_of)]
    assert " ".join(shown[:8]) == "1.00 0.80 −0.40 −0.30 0.80 1.00 −0.20 −0.10"
    assert " ".join(shown[8:]) == "−0.40 −0.20 1.00 0.60 −0.30 −0.10 0.60 1.00"
    names = re.findall(r'text-anchor="end">(\w+)<', map_of)
    assert names == ["cat", "dog", "car", "van"]
    between = re.findall(r'class="between" d="([^"]*)"', map_of)
    assert len(between) == 1 and between[0].count("M") == 2, "one line down and one across, after the first group"
    assert "Cosine of class features." in read(map_of) and "−0.80" in read(map_of.split("</svg></div>")[1])


def test_without_negatives_the_colours_run_one_way():
    html = part(classwise_html(report_of(similarity=[[1.0, 0.2, 0.4, 0.0]] * 4)), "similarity")
    assert "(white: 0)" not in html and ("#ffffff", "cat, van: 0.00") in cells_of(html)
    assert scale_of([0.8, 0.9]).color(0.8) == "#ffffff" and scale_of([0.4, 0.4]).color(0.4) == "#08519c"


def test_wrong_answers_by_hand(page):
    told = part(page, "confusion")
    assert "Of 7 wrong answers, 6 (85.7 %) lie within the right group and 1 (14.3 %) lies in another group." in read(
        told
    )
    table = re.findall(r"<td[^>]*>(.*?)</td>", told)
    assert table[:8] == ["dog", "cat", "3", "yes", "cat", "dog", "2", "yes"]
    assert table[8:] == ["car", "van", "1", "yes", "dog", "car", "1", "no"] and "The 4 most frequent" in told
    cells = cells_of(told)
    assert len(cells) == 8, "4 classes answered right and 4 confusions; what never happened is blank"
    assert cells[:2] == [(OWN, "cat answered right: 8 of 10"), ("#5a8bbd", "cat answered as dog: 2 of 10")]


def test_words_for_one_and_none():
    right = [[10 * (a == b) for b in range(4)] for a in range(4)]
    none = part(
        classwise_html(report_of(confusion=right, combined=COMBINED | {"num_wrong_within": 0, "num_wrong_group": 0})),
        "confusion",
    )
    assert "No test image was answered wrongly." in none and "most frequent" not in none
    one = [[9, 1], [0, 10]]
    alone = report_of(
        class_names=NAMES[:2], groups=[(0, 1)], members=MEMBERS[:1], confusion=one, similarity=[[1, 0.5], [0.5, 1]],
        whole=WHOLE | {"num_test": 1}, combined=COMBINED | {"num_wrong_within": 1, "num_wrong_group": 0}, rows=ROWS[:1],
        trials=TRIALS[:1], groupings=[GROUPINGS[0] | {"num_seeds": 1}, GROUPINGS[1] | {"num_seeds": 1}],
    )  # fmt: skip
    told = read(classwise_html(alone))
    for said in (
        "1 member of 0.48 × the multiply-adds answers with 82.50 % top-1",
        "on 1 test image. The member costs 0.85 × the multiply-adds of the whole network and holds 0.70 × its",
        "Of 1 wrong answer, 1 (100.0 %) lies within the right group and 0 (0.0 %) lie in another group.",
        "The most frequent confusion", "The member Members", "1 row, with", "1 network behind it",
        "similar: +3.00 points against random, which a single seed cannot tell from chance.",
    ):  # fmt: skip
        assert said.removesuffix(" Members") in told, said
    assert 'class="between"' not in classwise_html(alone), "one group has no line"


def test_groups_of_one_class():
    members = [MEMBERS[0] | {"member": n + 1, "classes": [name]} for n, name in enumerate(NAMES)]
    combined = COMBINED | {"num_wrong_within": 0, "num_wrong_group": 7}
    html = classwise_html(report_of(groups=[[n] for n in (3, 1, 0, 2)], members=members, combined=combined))
    Page(html)
    assert "0 (0.0 %) lie within the right group and 7 (100.0 %) lie in another group." in read(html)
    assert "yes" not in re.findall(r"<td[^>]*>(.*?)</td>", part(html, "confusion"))
    assert cells_of(part(html, "similarity"))[0][1] == "van, van: 1.00"
    (between,) = re.findall(r'class="between" d="([^"]*)"', part(html, "similarity"))
    assert between.count("M") == 6


def test_a_class_of_no_group_stands_last():
    html = part(classwise_html(report_of(groups=[[2, 3], [1]])), "similarity")
    assert re.findall(r'text-anchor="end">(\w+)<', html) == ["dog", "van", "car", "cat"]


def test_times_by_hand(page):
    told = read(part(page, "speed"))
    assert "native whole, 2 threads 2.00 2.10 1 native members side by side 1.25 1.50 1.60 (1.55 to 1.65)" in told
    assert "onnxruntime members side by side 1.50 1.60 1.00 (0.90 to 1.10)" in told


def test_groupings_against_random(page):
    section = part(page, "compared")
    told = read(section)
    assert "similar gains over random: +3.00 points (+2.00 to +4.00), the interval excludes 0." in told
    assert "kmeans does not differ from random by these 2 seeds: −0.50 points (−2.00 to +1.00)." in told
    assert (
        "random 2 81.00 80.00 to 82.00 – 34.00 189,000 similar 2 84.00 83.00 to 85.00 +3.00 +2.00 to +4.00 35" in told
    )
    first, second = section.split("<figure>")[1:]
    assert first.count('class="mean"') == 3 and first.count('r="2.6"') == 6 and 'class="zero"' not in first
    assert second.count('class="mean"') == 2 and second.count('class="zero"') == 1
    # From −2 − 8 % of 6 to 4 + 8 % of 6 points: 0 stands at 2.48 of 6.96.
    assert f'd="M{104 + 320 * 2.48 / 6.96:.1f} 8V' in second
    worse = [GROUPINGS[0], GROUPINGS[1] | {"gain": -0.03, "gain_low": -0.04, "gain_high": -0.02}]
    assert "similar loses against random: −3.00 points (−4.00 to −2.00)" in read(
        classwise_html(report_of(groupings=worse))
    )


def test_layers_by_hand(page):
    section = part(page, "layers")
    assert re.findall(r'text-anchor="end">(\w+)<', section) == ["conv1", "conv2", "conv3"]
    cells = {told: color for color, told in cells_of(section)}
    assert cells["member 1, conv3: 8 of 32 channels, 80 of 320 parameters, 8,000 of 32,000 multiply-adds"] == "#c1d4e6"
    assert len(cells) == 5 and re.findall(r'class="light" x="[\d.]+" y="[\d.]+">(\d+)<', section) == [
        "100",
        "100",
        "75",
    ]
    assert "The members differ most in conv1: between 50 % and 100 % of its channels are left." in section
    table = section.split('id="rows"')[1]
    assert table.count("<tr") == 1 + len(ROWS) and ">25.0</td>" in table and "sortable" in section


def test_strings_are_text_everywhere():
    names = [f"{EVIL}{n}" for n in range(4)]
    changed = {
        "title": EVIL, "command": EVIL, "summary": [EVIL], "class_names": names, "grouping": EVIL,
        "similarity_of": EVIL,
        "combined": COMBINED | {"path": EVIL}, "notes": [EVIL], "files": [{"path": EVIL, "bytes": None, "what": EVIL}],
        "members": [one | {"member": EVIL, "classes": names * 4} for one in MEMBERS], "environment": {EVIL: EVIL},
        "rows": [one | {"member": f"{EVIL}{one['member']}", "classes": EVIL, "layer": EVIL} for one in ROWS],
        "speed": [one | {"runtime": EVIL, "what": f"{one['what']}, {EVIL}"} for one in SPEED],
        "trials": [one | {"grouping": EVIL} for one in TRIALS],
        "groupings": [one | {"grouping": EVIL} for one in GROUPINGS],
    }  # fmt: skip
    html = classwise_html(report_of(**changed))
    assert EVIL not in html and len(Page(html).all("script")) == 1 and html.count("&lt;script&gt;") > 100
    assert html.count("<script") == 1
    assert [name for _, attributes in Page(html).seen for name in attributes if name.startswith("on")] == []


def test_the_policy_admits_sorting_alone_and_no_request(page):
    policy = next(one["content"] for one in Page(page).all("meta") if one.get("http-equiv"))
    assert f"script-src '{script_hash(styles('sort.js'))}';" in policy and policy.startswith("default-src 'none';")
    assert [attributes for _, attributes in Page(page).seen if "src" in attributes] == []
    assert "http" not in page.replace("http-equiv", "")


def test_a_hundred_classes_have_no_words_in_cells_and_the_page_stays_light():
    html = classwise_html(many(100))
    Page(html)
    assert 'class="values"' in classwise_html(many(12)) and 'class="values"' not in part(html, "similarity")
    assert len(cells_of(part(html, "similarity"))) == 10_000 and len(html) < 2_500_000
    assert part(html, "similarity").count("<text") == 2 * 100 + 10, "names on both axes and the members"
    assert "The 10 most frequent confusions" in html


def test_too_many_classes_for_a_map_are_told():
    html = classwise_html(many(MOST_CLASSES + 1))
    assert read(html).count("151 classes are too many for a map (150 at most).") == 2
    assert cells_of(part(html, "confusion")) == [] and "The 10 most frequent confusions" in html


def test_a_similarity_that_is_not_known_is_blank():
    unknown = [[float("nan") if a != b else 1.0 for b in range(4)] for a in range(4)]
    html = classwise_html(report_of(similarity=unknown))
    assert "nan" not in part(html, "similarity") and len(cells_of(part(html, "similarity"))) == 4


def test_it_is_written_whole_or_not_at_all(tmp_path):
    path = write_classwise_page(report_of(), tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == classwise_html(report_of())
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError):
        write_classwise_page(report_of(), tmp_path / "file" / "report.html")


def test_the_made_up_counts_agree():
    wrong = {(a, b): num for a, row in enumerate(CONFUSION) for b, num in enumerate(row) if a != b}
    within = sum(num for (a, b), num in wrong.items() if any(a in group and b in group for group in GROUPS))
    assert (within, sum(wrong.values()) - within) == (COMBINED["num_wrong_within"], COMBINED["num_wrong_group"])
