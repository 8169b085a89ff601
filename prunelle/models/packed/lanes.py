"""Symbols of large tensors, thousands at once: range asymmetric numeral systems in many lanes, in numpy.

How likely each symbol is stands in tables that are written first, so nothing is learned on the way and all lanes move
together: 25 million weights in seconds where learning bit by bit takes minutes. Costs some percent more bytes.
Source: Duda 2013, arXiv:1311.2540; interleaving as in Giesen 2014, arXiv:1402.3392: all lanes share one stream of
16-bit words.
"""

from __future__ import annotations

import numpy as np

from prunelle.errors import CorruptFileError

SCALE_BITS = 14
SCALE = 1 << SCALE_BITS
FLOOR = 1 << 16
STEPS = 4096
"""Symbols a lane: a lane costs 4 bytes, a step 20 microseconds."""
WORD = np.dtype("<u2")
STATE = np.dtype("<u4")


def num_lanes(count: int) -> int:
    """How many lanes `count` symbols are spread over.

    >>> num_lanes(0), num_lanes(4096), num_lanes(4097)
    (1, 1, 2)
    """
    return max(1, -(-count // STEPS))


def shares(symbols: np.ndarray, contexts: np.ndarray, num_symbols: int, num_contexts: int) -> np.ndarray:
    """(num_contexts, num_symbols) uint16 tables: how often of SCALE a symbol comes, at least 1 where it comes.

    A context without symbols has a row of zeros. symbols: (n,) integers below 256; contexts: (n,) integers.
    """
    counts = np.bincount(contexts.astype(np.int64) * num_symbols + symbols, minlength=num_contexts * num_symbols)
    counts = counts.reshape(num_contexts, num_symbols).astype(np.float64)
    totals = counts.sum(1, keepdims=True)
    tables = np.where(counts > 0, np.maximum(1, np.floor(counts / np.maximum(totals, 1) * SCALE)), 0).astype(np.int64)
    for row, table in enumerate(tables):
        if totals[row, 0]:
            while (missing := SCALE - int(table.sum())) != 0:
                largest = int(table.argmax())
                table[largest] += max(missing, 1 - int(table[largest]))
    return tables.astype(WORD)


def encode(symbols: np.ndarray, contexts: np.ndarray, tables: np.ndarray) -> bytes:
    """symbols, contexts: (n,) integers. tables: as `shares` makes them. Returns the lanes' states, then the words."""
    lanes = num_lanes(len(symbols))
    often = tables.astype(np.uint64)
    starts = np.cumsum(often, 1) - often
    states = np.full(lanes, FLOOR, dtype=np.uint64)
    words: list[np.ndarray] = []
    for first in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        own, context = symbols[first : first + lanes], contexts[first : first + lanes]
        share, start = often[context, own], starts[context, own]
        state = states[: len(own)]
        full = state >= share << np.uint64(32 - SCALE_BITS)
        words.append((state[full] & np.uint64(0xFFFF)).astype(WORD))
        state[full] >>= np.uint64(16)
        state[:] = (state // share << np.uint64(SCALE_BITS)) + state % share + start
    return states.astype(STATE).tobytes() + b"".join(part.tobytes() for part in reversed(words))


def decode(raw: bytes, contexts: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """(n,) uint8 symbols, as many as there are contexts. Raises CorruptFileError for bytes that `encode` cannot have
    written."""
    count, lanes = len(contexts), num_lanes(len(contexts))
    if len(raw) < lanes * STATE.itemsize or len(raw) % 2:
        raise damaged()
    often, starts, symbol_at = lookups(tables)
    met = np.bincount(contexts, minlength=len(often)) > 0
    if bool((often[met].sum(1) != SCALE).any()):
        raise damaged()
    states = np.frombuffer(raw, STATE, lanes).astype(np.int64)
    # Behind the end stand zeros, so that a stream that is too short is found once, at the end.
    words = np.frombuffer(raw, WORD, offset=lanes * STATE.itemsize)
    num_words, used = len(words), 0
    words = np.concatenate([words, np.zeros(lanes, WORD)]).astype(np.int64)
    found = np.empty(count, dtype=np.uint8)
    for first in range(0, count, lanes):
        context = contexts[first : first + lanes]
        state = states[: len(context)]
        slot = state & (SCALE - 1)
        symbol = symbol_at[context, slot]
        state[:] = often[context, symbol] * (state >> SCALE_BITS) + slot - starts[context, symbol]
        low = np.flatnonzero(state < FLOOR)
        state[low] = state[low] << 16 | words[used : used + len(low)]
        used += len(low)
        if used > num_words:
            raise damaged()
        found[first : first + lanes] = symbol
    if used != num_words or bool((states != FLOOR).any()):
        raise damaged()
    return found


def lookups(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(how often, where each symbol's slots start, which symbol a slot belongs to). Raises CorruptFileError."""
    often = tables.astype(np.int64)
    totals = often.sum(1)
    if bool(((totals != SCALE) & (totals != 0)).any()):
        raise damaged()
    symbol_at = np.zeros((len(often), SCALE), dtype=np.uint8)
    for row, table in enumerate(often):
        if totals[row]:
            symbol_at[row] = np.repeat(np.arange(len(table)), table)
    return often, np.cumsum(often, 1) - often, symbol_at


def damaged() -> CorruptFileError:
    return CorruptFileError("packed file: a stream of symbols does not end where it should; take a fresh copy.")
