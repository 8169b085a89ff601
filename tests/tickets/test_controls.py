import torch

from prunelle.tickets.controls import random_mask, shuffled_mask

draws = torch.Generator().manual_seed(0)
KEPT = {
    "conv": torch.rand(6, 3, 3, 3, generator=draws) < 0.3,
    "linear": torch.rand(10, 40, generator=draws) < 0.05,
    "none": torch.zeros(4, 5, dtype=torch.bool),
    "all": torch.ones(4, 5, dtype=torch.bool),
}


def test_a_random_mask_keeps_as_many_in_every_layer() -> None:
    found = random_mask(KEPT, 0)
    assert {n: int(m.sum()) for n, m in found.items()} == {n: int(m.sum()) for n, m in KEPT.items()}
    assert {n: m.shape for n, m in found.items()} == {n: m.shape for n, m in KEPT.items()}
    assert not torch.equal(found["conv"], KEPT["conv"])
    # The units no longer keep what they kept: 400 places, some unit differs.
    assert found["linear"].sum(1).tolist() != KEPT["linear"].sum(1).tolist()


def test_a_shuffled_mask_keeps_as_many_in_every_unit() -> None:
    found = shuffled_mask(KEPT, 0)
    for name, mask in KEPT.items():
        assert found[name].flatten(1).sum(1).tolist() == mask.flatten(1).sum(1).tolist()
    assert not torch.equal(found["conv"], KEPT["conv"]) and not torch.equal(found["linear"], KEPT["linear"])


def test_where_nothing_can_be_chosen_nothing_changes() -> None:
    for control in (random_mask, shuffled_mask):
        found = control(KEPT, 0)
        assert torch.equal(found["none"], KEPT["none"]) and torch.equal(found["all"], KEPT["all"])


def test_the_same_names_give_the_same_mask_and_others_another() -> None:
    for control in (random_mask, shuffled_mask):
        first, again, seed, name = (control(KEPT, *names)["conv"] for names in ((0, 7), (0, 7), (1, 7), (0, 8)))
        assert torch.equal(first, again)
        assert not torch.equal(first, seed) and not torch.equal(first, name)


def test_the_masks_that_are_given_stay_as_they_are() -> None:
    before = {name: mask.clone() for name, mask in KEPT.items()}
    random_mask(KEPT, 0), shuffled_mask(KEPT, 0)
    assert all(torch.equal(before[name], mask) for name, mask in KEPT.items())


def test_every_place_of_a_unit_is_as_likely_as_every_other() -> None:
    one = {"w": torch.tensor([[True, False, False, False]])}
    times = sum(shuffled_mask(one, seed)["w"].int() for seed in range(400))
    # 400 draws over 4 places: 100 each, standard deviation 8.7.
    assert int(times.sum()) == 400 and int(times.min()) > 60 and int(times.max()) < 140
