"""Values and scripts made safe to stand inside an HTML page."""

import base64
import hashlib
import json
import math
from typing import Any


def lean(value: Any) -> Any:
    """The same value with floats at 6 significant digits and NaN or infinity as None, which JSON can hold.

    >>> lean({"top1": [0.98765432, float("nan")]})
    {'top1': [0.987654, None]}
    """
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: lean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [lean(item) for item in value]
    return value


def script_json(value: Any) -> str:
    """JSON that can stand inside a <script> element whatever its strings hold.

    No `<`, `>` or `&` is left, so neither `</script>` nor `<!--` can end or upset the element.

    >>> script_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(lean(value), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def script_hash(script: str) -> str:
    """The source expression by which a Content-Security-Policy admits this one inline script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
