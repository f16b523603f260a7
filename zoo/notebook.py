"""What a notebook shows of an object in the place of its ``repr``."""

from __future__ import annotations

import html
from collections.abc import Iterable


def table(rows: Iterable[Iterable[object]], head: Iterable[object] = (), more: Iterable[object] = ()) -> str:
    """Rows as an HTML table, the first cell of each a heading where there is no ``head``, and sentences below it.

    Whatever the cells say, they are text, and no markup.
    """
    names = "".join(f"<th>{html.escape(str(name))}</th>" for name in head)
    first = "td" if names else "th"
    body = []
    for row in rows:
        cells = [html.escape(str(cell)) for cell in row]
        rest = "".join(f"<td>{cell}</td>" for cell in cells[1:])
        body.append(f"<tr><{first}>{cells[0]}</{first}>{rest}</tr>")
    top = f"<thead><tr>{names}</tr></thead>" if names else ""
    below = "".join(f"<p>{html.escape(str(line))}</p>" for line in more)
    return f"<table>{top}<tbody>{''.join(body)}</tbody></table>{below}"
