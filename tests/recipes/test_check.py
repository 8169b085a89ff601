from prunelle.recipes.check import threads_pay

from .small import cell, recipe


def test_threads_pay_from_ten_million_multiply_adds_an_image() -> None:
    assert not threads_pay(recipe(cell()), False)
    assert threads_pay(recipe(cell(model="resnet20", data="cifar10")), False)
