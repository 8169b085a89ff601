"""The page of a search for tickets as a browser lays it out: nothing leaves the screen, boxes hide lines, no error."""

import shutil

import pytest

from prunelle.report.tickets import write_tickets_page

from .test_fitted_in_browser import OVERLAPS
from .ticket_rows import ROWS, WINNER, report, three

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]
SHOWN = """
const found = [...document.querySelectorAll(arguments[0])];
return found.filter(one => getComputedStyle(one).display != "none").length;
"""
MANY = [
    one
    for rewind in range(200, 2000, 200)
    for kept in (0.5, 0.3, 0.2, 0.1, 0.04, 0.02)
    for one in three("ticket", kept, rewind, 0.97, 0.98, 0.975 + rewind / 1e6)
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    pytest.importorskip("selenium")
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("tickets")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    words = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    for argument in [*words.split(), f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def opened(driver, folder, width: int, rows: list[dict] = ROWS, **changed) -> None:
    page = write_tickets_page(report(rows, **changed), folder / "report.html")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("rows", [ROWS, [*ROWS, *MANY]], ids=["few", "many"])
def test_nothing_leaves_the_screen_and_no_word_covers_another(driver, tmp_path, width, rows):
    files = [{"path": "/".join(["folder"] * 30), "bytes": 7, "what": "weights"}]
    winner = WINNER | {"path": "folder/" * 30}
    opened(driver, tmp_path, width, rows, files=files, winner=winner, title="word" * 40, command="word " * 80)
    driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script(OVERLAPS) == []
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_verdict_and_the_lead_stand_on_the_first_screen(driver, tmp_path):
    opened(driver, tmp_path, 1280)
    low = driver.execute_script("return document.querySelector('.tiles').getBoundingClientRect().bottom")
    assert 0 < low < 900


def test_boxes_hide_lines_and_a_button_changes_the_rewinding_point(driver, tmp_path):
    opened(driver, tmp_path, 1280)
    assert driver.execute_script(SHOWN, ".r0, .r1") == 2 and driver.execute_script(SHOWN, ".at") == 1
    driver.find_element("id", "r-1").click()
    assert driver.execute_script(SHOWN, ".r0") == 1 and driver.execute_script(SHOWN, ".r1") == 0
    assert driver.execute_script(SHOWN, ".at1") == 1
    driver.find_element("id", "at-0").click()
    assert driver.execute_script(SHOWN, ".at0") == 1 and driver.execute_script(SHOWN, ".at1") == 0
    driver.find_element("id", "v-random").click()
    assert driver.execute_script(SHOWN, ".v-random") == 0 and driver.execute_script(SHOWN, ".v-reinit") == 2


def test_a_click_on_a_heading_sorts_as_numbers(driver, tmp_path):
    opened(driver, tmp_path, 1280)
    column = "return [...document.querySelectorAll('#rows tbody tr')].map(row => Number(row.cells[6].dataset.sort))"
    driver.find_elements("css selector", "#rows th button")[6].click()
    assert driver.execute_script(column) == sorted(row["test_top1"] for row in ROWS)
    header = driver.find_elements("css selector", "#rows th")[6]
    assert header.get_attribute("aria-sort") == "ascending"
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
