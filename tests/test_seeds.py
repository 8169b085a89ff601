import hashlib

import torch

from prunelle.seeds import derive, generator


def test_derive_is_the_hash_it_says():
    expected = int.from_bytes(hashlib.sha256(b"7/order/3").digest()[:8], "big") >> 1
    assert derive(7, "order", 3) == expected
    # The number itself is pinned: it may never change, or every split and every run would.
    assert derive(0, "split") == 3769940940748469125


def test_every_name_gives_a_stream_of_its_own():
    found = {derive(seed, name, number) for seed in range(10) for name in "abc" for number in range(10)}
    assert len(found) == 300
    assert all(0 <= value < 2**63 for value in found)


def test_generators_of_one_name_agree_and_share_no_state():
    first, second = generator(3, "a"), generator(3, "a")
    drawn = torch.rand(5, generator=first)
    assert torch.equal(drawn, torch.rand(5, generator=second))
    assert not torch.equal(drawn, torch.rand(5, generator=generator(3, "b")))


def test_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    generator(0, "a")
    assert torch.equal(torch.rand(1), expected)
