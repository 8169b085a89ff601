"""The table of data sets that go by a name: shapes, classes, and the official files each is made of. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = tuple("0123456789")
FASHION_WORDS = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_WORDS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm"""
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

WHOLE = "all"
"""The one stored part of a folder of class folders, which is split by a seed."""
CLAIM, INDEX = "prepare.json", "shards.json"
"""By which a folder that prunelle prepare makes is known, and by which a finished one; see shards.py."""


@dataclass(frozen=True)
class Source:
    """A data set with a name. input_shape: (C, H, W). files: official names, none when a package brings the data.
    folders: where below a root the files may lie, besides the root itself. may_be_gzipped: NAME.gz will do as well."""

    name: str
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    may_be_gzipped: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


SOURCES = {
    source.name: source
    for source in (
        Source("digits", (1, 8, 8), DIGITS),
        Source("mnist", (1, 28, 28), DIGITS, IDX_FILES, ("mnist", "MNIST", "MNIST/raw", "mnist/raw"), True),
        Source(
            "fashion-mnist",
            (1, 28, 28),
            tuple(word.replace("_", " ") for word in FASHION_WORDS.split()),
            IDX_FILES,
            ("fashion-mnist", "fashion_mnist", "fashion", "FashionMNIST", "FashionMNIST/raw"),
            True,
        ),
        Source(
            "cifar10",
            (3, 32, 32),
            CIFAR10,
            (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
            ("cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"),
        ),
        Source(
            "cifar100",
            (3, 32, 32),
            tuple(CIFAR100_WORDS.split()),
            ("train.bin", "test.bin"),
            ("cifar-100-binary", "cifar100", "cifar100/cifar-100-binary"),
        ),
    )
}
