"""The reason of another library's error, in one line."""


def first_line(error: BaseException, limit: int = 160) -> str:
    """The first line of the innermost cause, with its class, at most `limit` characters.

    >>> first_line(ValueError("no such axis\\n\\nSee the manual."))
    'ValueError: no such axis'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:limit].rstrip(" .")
