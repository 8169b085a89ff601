"""What the parser says of a command line, in the words of the rest of the house."""

from __future__ import annotations

import re
from collections.abc import Sequence

ALLOWED = (
    (r"valid integer|not a valid int", "a whole number"),
    (r"valid number|not a valid float", "a number"),
    (r"greater than or equal to (\S+)|range x>=(\S+)\.", "at least {}"),
    (r"less than or equal to (\S+)|range x<=(\S+)\.", "at most {}"),
    (r"range (\S+)<=x<=(\S+)\.", "in [{}, {}]"),
)


def usage_sentence(message: str, arguments: Sequence[str]) -> str:
    """The parser's message as one sentence: where, what came, what is allowed, what to do.

    >>> usage_sentence("Invalid value for '--seed': Input should be a valid integer.", ["train", "--seed", "x"])
    "--seed is 'x', must be a whole number; see prunelle train --help."
    >>> usage_sentence("No such option: --sed", ["train", "--sed", "3"])
    'No such option: --sed; see prunelle train --help.'
    """
    line = " ".join(message.split()).rstrip(".")
    verb = f" {arguments[0]}" if arguments and re.fullmatch(r"[a-z]+", arguments[0]) else ""
    help_ = "see prunelle --help." if line.startswith("No such command") else f"see prunelle{verb} --help."
    invalid = re.match(r"Invalid value for '(--[a-z-]+)'", line)
    if invalid:
        option = invalid.group(1)
        for pattern, allowed in ALLOWED:
            bounds = re.search(pattern, f"{line}.")
            if bounds:
                limits = [bound.rstrip(".") for bound in bounds.groups() if bound]
                return f"{option} is {given(option, arguments)!r}, must be {allowed.format(*limits)}; {help_}"
    return f"{line}; {help_}"


def given(option: str, arguments: Sequence[str]) -> str:
    """The value that an option had on the command line, the last one where there are several."""
    found = ""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found
