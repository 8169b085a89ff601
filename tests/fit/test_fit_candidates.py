import json
from dataclasses import replace

import pytest

from prunelle.errors import CorruptFileError, SettingError
from prunelle.fit.candidates import BLOCKS, CHANNELS, ZEROS, Candidate, Cut, cuts_to_try
from prunelle.fit.entry import Entry
from prunelle.ship.names import FORMATS, PRECISIONS

DENSE = Candidate((), (), "native", "fp32")
FULL = Candidate((Cut(CHANNELS, 0.3), Cut(ZEROS, 0.8, "cost")), (2, 4), "packed-native", "fp32", values=16)


def test_names_say_what_was_done_in_order():
    assert DENSE.name == "dense; native fp32"
    assert FULL.name == (
        "30 % fewer multiply-adds by channels, 80 % zeros by cost, 6 epochs, 16 shared values; packed-native"
    )
    one = Candidate((Cut(BLOCKS, 0.5),), (1,), "onnx", "int8", bits=4)
    assert one.name == "50 % fewer multiply-adds by blocks, 1 epoch, 4-bit weights; onnx int8"
    assert (one.network, one.file) == ("50 % fewer multiply-adds by blocks, 1 epoch", "onnx int8")
    assert Cut(ZEROS, 0.85).name == "85 % zeros" and Cut(ZEROS, 0.125).name == "12.5 % zeros"


def test_techniques_are_named_once_and_the_dense_network_has_none():
    assert DENSE.techniques == ()
    assert FULL.techniques == ("channels", "zeros", "sharing")
    twice = Candidate((Cut(ZEROS, 0.5), Cut(ZEROS, 0.8)), (), "native", "int16", bits=4)
    assert twice.techniques == ("zeros", "4-bit weights", "int16")


def test_ids_are_stable_for_folders_made_long_ago():
    """A changed id would make every folder that a user has forget what is finished."""
    assert (DENSE.id, FULL.id) == ("b1c7ba821c27f68a", "b82426495a23c7e2")


def test_every_field_changes_the_id():
    others = [
        replace(FULL, cuts=FULL.cuts[::-1]),
        replace(FULL, cuts=(Cut(CHANNELS, 0.3), Cut(ZEROS, 0.8))),
        replace(FULL, cuts=(Cut(CHANNELS, 0.31), FULL.cuts[1])),
        replace(FULL, epochs=(6,)),
        replace(FULL, format="packed"),
        replace(FULL, values=32),
        replace(FULL, values=None),
        replace(FULL, values=None, bits=4),
        replace(DENSE, precision="int16"),
    ]
    ids = [one.id for one in (DENSE, FULL, *others)]
    assert len(set(ids)) == len(ids) and all(len(one) == 16 and set(one) <= set("0123456789abcdef") for one in ids)


@pytest.mark.parametrize("one", [DENSE, FULL, Candidate((Cut(BLOCKS, 0.5),), (), "openvino", "bf16", bits=2)])
def test_json_there_and_back(one):
    read = Candidate.from_json(json.loads(json.dumps(one.to_json())))
    assert read == one and read.id == one.id


REFUSED = {
    "no field": ({}, "is no candidate"),
    "a field of another version": (FULL.to_json() | {"taste": 1}, "is no candidate"),
    "a field left out": ({k: v for k, v in FULL.to_json().items() if k != "format"}, "is no candidate"),
    "cuts that are none": (FULL.to_json() | {"cuts": [1]}, "is no candidate"),
    "epochs that are none": (FULL.to_json() | {"epochs": 3}, "is no candidate"),
    "a kind": (FULL.to_json() | {"cuts": [{"kind": "rows", "amount": 0.5}]}, "cuts is none"),
    "a scope": (FULL.to_json() | {"cuts": [{"kind": ZEROS, "amount": 0.5, "scope": "layer"}]}, "cuts is none"),
    "all taken": (FULL.to_json() | {"cuts": [{"kind": ZEROS, "amount": 1.0}]}, "amount is none"),
    "nothing taken": (FULL.to_json() | {"cuts": [{"kind": ZEROS, "amount": 0}]}, "amount is none"),
    "NaN": (FULL.to_json() | {"cuts": [{"kind": ZEROS, "amount": float("nan")}]}, "amount is none"),
    "half a word": (FULL.to_json() | {"cuts": [{"kind": ZEROS, "amount": "0.5"}]}, "amount is none"),
    "no epoch": (FULL.to_json() | {"epochs": [0]}, "epochs is none"),
    "half an epoch": (FULL.to_json() | {"epochs": [1.5]}, "epochs is none"),
    "True epochs": (FULL.to_json() | {"epochs": [True]}, "epochs is none"),
    "letters of epochs": (FULL.to_json() | {"epochs": "12"}, "epochs is none"),
    "a format": (FULL.to_json() | {"format": "zip"}, "format, precision is none"),
    "a precision of another format": (FULL.to_json() | {"precision": "int8"}, "format, precision is none"),
    "no values": (FULL.to_json() | {"values": 0}, "values is none"),
    "too many values": (FULL.to_json() | {"values": 257}, "values is none"),
    "values of another type": (FULL.to_json() | {"values": 16.0}, "values is none"),
    "True values": (FULL.to_json() | {"values": True}, "values is none"),
    "one bit": (FULL.to_json() | {"bits": 1, "values": None}, "bits is none"),
    "values and bits at once": (FULL.to_json() | {"bits": 4}, "values, bits is none"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_json_of_no_candidate_is_refused_with_its_file(what):
    values, why = REFUSED[what]
    with pytest.raises(SettingError, match=rf"^rows/x\.json: {why}.*; take a file that prunelle fit wrote\.$"):
        Candidate.from_json(values, "rows/x.json")


def test_an_entry_there_and_back_and_one_of_no_version():
    one = replace(Entry.example(median_ms=1.5, val_top1=0.9), candidate=FULL)
    assert Entry.from_json(json.loads(json.dumps(one.to_json())), "x") == one
    with pytest.raises(CorruptFileError, match=r"^x: holds no entry of this version .*; delete it\.$"):
        Entry.from_json({"status": "fit"}, "x")
    with pytest.raises(CorruptFileError, match="holds no entry of this version"):
        Entry.from_json(one.to_json() | {"weight": 1}, "x")


@pytest.mark.parametrize("by_size, by_time", [(True, True), (True, False), (False, True), (False, False)])
def test_cuts_to_try_are_all_different_possible_and_of_every_kind_early(by_size, by_time):
    found = cuts_to_try(by_size, by_time)
    assert len(set(found)) == len(found) > 10
    for cuts in found:
        for name in FORMATS:
            Candidate(cuts, (), name, PRECISIONS[name][0]).checked("x")
    early = {cut.kind for cuts in found[:4] for cut in cuts}
    assert early == {ZEROS, CHANNELS, BLOCKS}
    assert any(len(cuts) == 2 for cuts in found)
    scopes = {cut.scope for cuts in found for cut in cuts if cut.kind == ZEROS}
    assert scopes == ({"global"} if by_size else set()) | ({"cost"} if by_time or not by_size else set())
