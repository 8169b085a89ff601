import shutil

import pytest

from prunelle.report.page import write_page

from .full_report import full_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    for module in ("selenium", "jinja2", "plotly"):
        pytest.importorskip(module)
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    folder = tmp_path_factory.mktemp("page")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in [*ARGUMENTS.split(), f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(argument)
    page = write_page(full_report(), folder / "report.html")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(lambda d: d.execute_script("return document.body.dataset.ready") == "true")
        yield driver
    finally:
        driver.quit()


@pytest.fixture(autouse=True)
def no_error_on_the_console(driver):
    yield
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def count(driver, selector: str) -> int:
    return driver.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def test_plots_are_drawn(driver):
    assert count(driver, "#costs .plot svg.main-svg") >= 3
    assert count(driver, "#costs .scatterlayer .point") == 3 * 4
    assert count(driver, "#layers .choice:not([hidden]) .barlayer .point") == 2 * 2
    assert count(driver, "#training .scatterlayer .js-line") == 2 * (2 + 1 + 1)


def test_nothing_is_requested_and_no_injected_script_ran(driver):
    resources = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in resources if not name.startswith(("file:", "data:", "blob:"))] == []
    assert driver.execute_script("return window.hacked === undefined")


def test_a_name_in_a_chart_is_text(driver):
    names = driver.execute_script(
        "const plot = document.getElementById('cost-size');"
        "Plotly.Fx.hover(plot, [{curveNumber: 1, pointNumber: 0}]);"
        "return plot.querySelector('.hoverlayer').textContent"
    )
    assert "<img src=x" in names and count(driver, ".hoverlayer img, .hoverlayer a") == 0


def test_a_click_sorts_as_numbers_and_another_turns_the_order_round(driver):
    from selenium.webdriver.common.by import By

    header = next(h for h in driver.find_elements(By.CSS_SELECTOR, "#rows th") if h.text.startswith("Size (KB)"))
    column = (
        "return [...document.querySelectorAll('#rows tbody tr')].map(r => r.cells[arguments[0].cellIndex].textContent)"
    )
    assert driver.execute_script(column, header) == ["1,000.0", "9.0", "100.0", "10.0"]
    assert header.get_attribute("aria-sort") == "none"
    header.click()
    assert driver.execute_script(column, header) == ["9.0", "10.0", "100.0", "1,000.0"]
    assert header.get_attribute("aria-sort") == "ascending"
    header.click()
    assert driver.execute_script(column, header) == ["1,000.0", "100.0", "10.0", "9.0"]
    assert header.get_attribute("aria-sort") == "descending"
    assert count(driver, "#rows th[aria-sort=descending]") == 1 and count(driver, "#rows th[aria-sort=none]") > 5


def test_the_legend_hides_a_run_in_every_chart(driver):
    from selenium.webdriver.common.by import By

    button = driver.find_element(By.CSS_SELECTOR, "#costs .legend button[data-meta$='pruned']")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert count(driver, "#costs .scatterlayer .point") == 3 * 2
    button.click()
    assert count(driver, "#costs .scatterlayer .point") == 3 * 4


def test_choosing_a_run_draws_its_layers(driver):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select, WebDriverWait

    Select(driver.find_element(By.ID, "layer-choice")).select_by_visible_text("other")
    shown = "[data-choice='1']:not([hidden]) .barlayer .point"
    WebDriverWait(driver, 30).until(lambda d: count(d, shown) == 4)
    assert count(driver, "[data-choice='0'][hidden]") == 1


def test_a_layer_tells_its_numbers_wherever_the_mouse_meets_its_bar(driver):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    bars = driver.find_elements(By.CSS_SELECTOR, ".choice:not([hidden]) .plot .barlayer .point path")
    told = "return document.querySelector('#layers .choice:not([hidden]) .hoverlayer').textContent"
    for bar in bars[:2]:
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", bar)
        ActionChains(driver).move_to_element(bar).perform()
        WebDriverWait(driver, 30).until(lambda d: "before 9" in d.execute_script(told))
        assert "after 3 (33.3 % left)" in driver.execute_script(told)


def test_printing_fits_the_sheet(driver):
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    width = "return document.querySelector('#cost-size .main-svg').getBoundingClientRect().width"
    assert driver.execute_script(width) == 330
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert driver.execute_script(width) != 330
