"""One network in every runtime that is installed, each interleaved with eager PyTorch. About half a minute."""

from prunelle.errors import PrunelleError
from prunelle.recipes.measure import measure_model
from prunelle.ship.names import RUNTIMES


def main() -> None:
    for runtime in RUNTIMES:
        try:
            card = measure_model("lenet5", runtime=runtime)
        except PrunelleError as error:
            print(f"{runtime}: {error}")
            continue
        latency = card.latency_ms
        assert latency is not None
        times = "" if latency.ratio is None else f", {latency.ratio:.2f} times as fast as eager"
        print(f"{runtime}: {latency.median:.3f} ms an image over {latency.num_samples} calls{times}")


if __name__ == "__main__":
    main()
