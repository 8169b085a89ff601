"""The page of a search as a browser lays it out: nothing wider than the screen, no word of a picture over another."""

import shutil

import pytest

from prunelle.report.fitted import write_fitted

from .test_fitted import BEST, CLASSES, FAST, LOST, PLAIN, REFUSED, found, row

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]
OVERLAPS = """
const found = [];
for (const picture of document.querySelectorAll(".picture")) {
  const frame = picture.getBoundingClientRect();
  const shown = [...picture.querySelectorAll("text")].filter(word => word.getBoundingClientRect().width > 0);
  const words = shown.map(word => [word.textContent, word.getBoundingClientRect()]);
  words.forEach(([told, a], index) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
      found.push(told + " leaves the picture");
    for (const [other, b] of words.slice(index + 1))
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
        found.push(told + " over " + other);
  });
}
return found;
"""
MANY = [row(f"r{n}", 0.8975 - n / 1500, 0.2 + n / 30, 40_000 + 9_000 * n, ("blocks",)) for n in range(1, 20)]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    pytest.importorskip("selenium")
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("fitted")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    words = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    for argument in [*words.split(), f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(
    "budget", [{"max_ms": 0.5, "max_kb": 50, "max_drop": 0.5}, {"max_ratio": 0.01, "max_drop": 2.0}]
)
def test_nothing_leaves_the_screen_and_no_word_covers_another(driver, tmp_path, width, budget):
    long = BEST | {"path": "files/" + "0" * 16 + "-final", "command": "prunelle fit " + "word " * 40}
    rows = [long, FAST, PLAIN, LOST, REFUSED | {"why": "a/very/long/path" * 20}, *MANY]
    files = [{"path": "/".join(["folder"] * 30), "bytes": 7, "what": "needed to run"}]
    test = found().test | {"per_class": CLASSES * 20}
    changed = {"budget": budget, "rows": rows, "files": files, "take": "folder/" * 30, "test": test}
    page = write_fitted(found(missed={"ms": 2.0}, nearest={"ms": long}, **changed), tmp_path / "report.html")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    driver.get(page.as_uri())
    driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script(OVERLAPS) == []
    assert driver.execute_script("return document.querySelectorAll('.picture circle').length") >= 2 * 20
