"""Bar: the page of 50 runs opens offline without a console error, sorts on a click and is under 6 MB.

Run: python benchmarks/report_page.py [--out page.html]
Makes a page of 100 rows, 10 run labels with nets of 40 layers and 50 curves of 200 epochs, opens it in headless
Chromium and prints JSON. The size is also taken of 50 labels of one run,
each with its layers: the largest such page. Exit 1 when a bar is missed or Chromium is not there.
The figures on the page are drawn from a random generator: they test the page and say nothing about pruning.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from prunelle.report.page import write_page
from prunelle.report.rows import Report

LARGEST_BYTES = 6_000_000
NUM_RUNS, NUM_LAYERS, NUM_EPOCHS = 50, 40, 200


def made_up_report(num_labels: int) -> Report:
    """50 runs under so many labels, a dense and a pruned row each."""
    draw = random.Random(0)
    rows, curves, layers = [], [], []
    for label in range(num_labels):
        target = 0.5 + 0.5 * label / num_labels
        run, kept = f"polynomial to {target:.2f}", 1.02 - target
        for seed in range(NUM_RUNS // num_labels):
            top1, latency = 0.915 + draw.gauss(0, 0.002), 2.4 + draw.gauss(0, 0.05)
            rows.append(_row(run, "dense", seed, 1.0, top1, latency))
            rows.append(_row(run, "pruned", seed, kept, top1 - 0.02 * (1 - kept) ** 6 + draw.gauss(0, 0.001), latency))
            curves.append({"name": f"{run} seed {seed}", "run": run, "points": _points(draw, 1 - kept, top1)})
        for layer in range(NUM_LAYERS):
            params = 432 * 4 ** (layer // 14) * (1 if layer == 0 else 5)
            macs = params * 1024 // 4 ** (layer // 14)
            left = min(1.0, kept * draw.uniform(0.6, 1.6))
            layers.append(
                {"run": run, "layer": f"stages.{layer // 14}.blocks.{layer % 14}.conv{layer % 2 + 1}"}
                | {"params_before": params, "params_after": int(params * left)}
                | {"macs_before": macs, "macs_after": int(macs * left)}
            )
    return Report(
        title="50 made-up runs",
        summary=f"Made-up figures that test the page: {num_labels} thresholds, {NUM_RUNS // num_labels} seeds each.",
        rows=rows,
        curves=curves,
        layers=layers,
        flips={
            "class_names": [f"class {index}" for index in range(10)],
            "per_class": [
                {"class": c, "num": 1000, "top1_before": 0.92, "top1_after": 0.91, "lost": 25 + c, "gained": 15}
                for c in range(10)
            ],
        },
        commands=["python benchmarks/report_page.py"],
        environment={"figures": "made up"},
        notes=["These figures are made up."],
    )


def _row(run: str, variant: str, seed: int, kept: float, top1: float, latency: float) -> dict:
    nnz, macs = int(269_722 * kept), 40_550_000
    return {
        "id": f"{run}-{variant}-{seed}".replace(" ", "-"),
        "run": run,
        "variant": variant,
        "model": "resnet20",
        "seed": seed,
        "params": 269_722,
        "nnz": nnz,
        "sparsity": 1 - nnz / 269_722,
        "macs": macs,
        "macs_nonzero": int(macs * kept),
        "size_bytes": int(4 * nnz + 269_722 / 8 + 4_000),
        "top1": top1,
        "top1_low": top1 - 0.0055,
        "top1_high": top1 + 0.0052,
        "num_test": 10_000,
        "loss": 0.3 + (1 - top1),
        "latency_median_ms": latency,
        "latency_p95_ms": latency * 1.2,
        "latency_p99_ms": latency * 1.4,
        "latency_ratio": 1.0 + 0.004 * (seed - 2),
        "ratio_low": 0.98,
        "ratio_high": 1.02,
        "runtime": "eager",
        "batch": 1,
        "threads": 1,
        "diverged": False,
    }


def _points(draw: random.Random, target: float, top1: float) -> list[dict]:
    points = []
    for epoch in range(1, NUM_EPOCHS + 1):
        done = epoch / NUM_EPOCHS
        points.append(
            {
                "epoch": epoch,
                "train_loss": 2.3 * (1 - done) ** 3 + 0.05 + draw.uniform(0, 0.02),
                "val_loss": 2.3 * (1 - done) ** 3 + 0.25 + draw.uniform(0, 0.04),
                "val_top1": top1 - 0.6 * (1 - done) ** 4 + draw.gauss(0, 0.004),
                "sparsity": target * (1 - (1 - done) ** 3),
                "lr": 0.1 * 0.5 * (1 + (1 - 2 * done)),
            }
        )
    return points


def open_in_chromium(page: Path) -> dict:
    """What the browser saw: console errors, requests, drawn points, whether sorting works, seconds until drawn."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for argument in (
            "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            f"--disable-component-update --disable-sync --window-size=1280,900 --user-data-dir={profile}"
        ).split():
            options.add_argument(argument)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        try:
            start = time.perf_counter()
            driver.get(page.resolve().as_uri())
            WebDriverWait(driver, 60).until(lambda d: d.execute_script("return document.body.dataset.ready") == "true")
            seconds = time.perf_counter() - start
            return {
                "seconds_until_drawn": round(seconds, 2),
                "points_drawn": driver.execute_script("return document.querySelectorAll('#costs .point').length"),
                "lines_drawn": driver.execute_script("return document.querySelectorAll('.js-line').length"),
                "click_sorts": click_sorts(driver),
                "requests": driver.execute_script(
                    "return performance.getEntriesByType('resource').map(e => e.name).filter(n => /^(http|ws)/.test(n))"
                ),
                "console_errors": [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"],
            }
        finally:
            driver.quit()


def click_sorts(driver) -> bool:
    """Click the size header twice: ascending, then descending, as numbers."""
    from selenium.webdriver.common.by import By

    headers = driver.find_elements(By.CSS_SELECTOR, "#rows th")
    column = next(i for i, header in enumerate(headers) if header.text.startswith("Size (KB)"))
    script = f"return [...document.querySelectorAll('#rows tbody tr')].map(r => +r.cells[{column}].dataset.sort)"
    orders = []
    for _ in range(2):
        headers[column].click()
        orders.append(driver.execute_script(script))
    return orders[0] == sorted(orders[0]) and orders[1] == sorted(orders[1], reverse=True) and len(set(orders[0])) > 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the page here")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        largest = write_page(made_up_report(num_labels=50), Path(folder) / "largest.html")
        page = write_page(made_up_report(num_labels=10), out or Path(folder) / "page.html")
        result: dict = {"num_runs": NUM_RUNS, "size_bytes": page.stat().st_size}
        result["size_bytes_50_labels"] = largest.stat().st_size
        if not shutil.which("chromium") or not shutil.which("chromedriver"):
            print(json.dumps({**result, "passed": False, "error": "chromium and chromedriver are needed"}, indent=1))
            return 1
        result |= open_in_chromium(page)
    passed = (
        max(result["size_bytes"], result["size_bytes_50_labels"]) < LARGEST_BYTES
        and result["click_sorts"]
        and result["points_drawn"] > 0
        and not result["console_errors"]
        and not result["requests"]
    )
    print(json.dumps({**result, "passed": passed}, indent=1))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
