"""Filling page templates safely: one pass, everything escaped, nothing loaded from outside."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any


class Markup(str):
    """Text that is HTML already; every other string is escaped."""

    __slots__ = ()


def asset(name: str) -> str:
    """Return the text of a file in the package's assets."""
    return (files("loc2.report") / "assets" / name).read_text(encoding="utf-8")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace every ``{{name}}`` of a template in one pass.

    Values are escaped unless they are :class:`Markup`. What a value holds is never looked at
    again, so a file name that looks like a placeholder stays a file name.
    """

    def value(match: re.Match[str]) -> str:
        found = values[match.group(1)]
        return str(found) if isinstance(found, Markup) else html.escape(str(found))

    return re.sub(r"\{\{(\w+)\}\}", value, template)


def build_page(
    content: str, *, title: str, style: str, script: str, values: Mapping[str, object]
) -> str:
    """Return a whole page: the frame that all pages share, around a template of the assets.

    Args:
        content: name of the template in the package's assets.
        title: of the page; any text, it is escaped.
        style: the only style that applies.
        script: the only script that runs.
        values: of the template's placeholders.
    """
    frame = {
        "title": title,
        "policy": policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
    }
    template = asset("page.html").replace("{{content}}", asset(content))
    return fill(template, {**frame, **values})


def json_block(content: Any) -> Markup:
    """Encode JSON so that it can stand inside a script element whatever its strings hold."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def policy(style: str, script: str) -> Markup:
    """Return a content security policy under which only this style and script run.

    Nothing may be fetched: images come from the page itself.
    """

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return Markup(
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(style)}'; "
        f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def table(rows: Iterable[Sequence[object]], numbers: bool = False) -> Markup:
    """Build a table whose first cells are headings; ``numbers`` aligns the rest to the right."""
    kind = ' class="number"' if numbers else ""
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return Markup(f"<table>{''.join(lines)}</table>")


def grid(heads: Sequence[object], rows: Iterable[Sequence[object]], words: bool = False) -> Markup:
    """Build a table with a row of headings; the first cells of rows are headings too.

    Cells that are :class:`Cell` carry their class. ``words`` is for cells that hold sentences:
    they are broken into lines and aligned to the left.
    """
    kind = "words" if words else "number"
    top = "".join(
        f'<th scope="col" class="head{f" {kind}" if i else ""}">{escape(head)}</th>'
        for i, head in enumerate(heads)
    )
    lines = []
    for first, *rest in rows:
        cells = "".join(
            f'<td class="{kind} {cell.kind if isinstance(cell, Cell) else ""}">{escape(cell)}</td>'
            for cell in rest
        )
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return Markup(
        f"<table class='grid'><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


class Cell(str):
    """Text of a table's cell with a class for its look; it is escaped like any text."""

    kind: str

    def __new__(cls, text: str, kind: str) -> Cell:
        """Keep the class beside the text."""
        cell = super().__new__(cls, text)
        cell.kind = kind
        return cell


def escape(value: object) -> str:
    """Return text for a page: markup as it is, all else escaped."""
    return str(value) if isinstance(value, Markup) else html.escape(str(value))
