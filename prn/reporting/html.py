"""`report.html`: the whole report in one file that opens offline; tables sort by a click on a column's head."""

import base64
import html
import re
from pathlib import Path

from prn.provenance.files import write_text
from prn.reporting.document import Bullets, Code, Figure, Heading, Page, Table, generated_by, slug
from prn.reporting.wording import GENERATED

HTML = "report.html"
HINT = "A click on a column's head sorts its table."
ASSETS = Path(__file__).parent
_CODE = re.compile(r"`([^`]*)`")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_ITALIC = re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])")


def write_html(pages: list[Page], folder: Path, title: str) -> None:
    """Write `report.html` with all pages, their pictures and the numbers inside the file."""
    names = {page.name: anchor(page.name) for page in pages}
    menu = "".join(
        f'<a href="#{names[page.name]}">{html.escape(page.title.removesuffix(GENERATED))}</a>' for page in pages
    )
    body = "".join(_page(page, folder, names) for page in pages)
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    write_text(
        folder / HTML,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<nav>{menu}</nav>\n<main>\n{body}</main>\n<script>\n{script}</script>\n</body>\n</html>\n",
    )


def anchor(name: str) -> str:
    """The place of a page in the file."""
    return "page-" + name.removesuffix(".md").replace("/", "-").lower()


def inline(text: str, names: dict[str, str]) -> str:
    """Inline Markdown as HTML: code, bold, italic and links; a link to another page leads to its place in the file."""
    pieces = []
    for number, piece in enumerate(_CODE.split(text)):
        if number % 2:
            pieces.append(f"<code>{html.escape(piece)}</code>")
            continue
        safe = html.escape(piece, quote=False)
        safe = _LINK.sub(lambda match: _link(match[1], match[2], names), safe)
        safe = _BOLD.sub(r"<strong>\1</strong>", safe)
        pieces.append(_ITALIC.sub(r"<em>\1</em>", safe))
    return "".join(pieces)


def _link(text: str, target: str, names: dict[str, str]) -> str:
    if target in names:
        return f'<a href="#{names[target]}">{text}</a>'
    if target.startswith(("https://", "http://")):
        return f'<a href="{html.escape(target)}">{text}</a>'
    return text  # files beside the report are not inside this one


def _page(page: Page, folder: Path, names: dict[str, str]) -> str:
    place = names[page.name]
    headings = [slug(block.text) for block in page.blocks if isinstance(block, Heading)]
    here = {**names, **{f"#{name}": f"{place}-{name}" for name in headings}}
    blocks = "\n".join(_block(block, folder, here) for block in page.blocks)
    source = f'<p class="source">{inline(generated_by(page).strip("*"), names)} {HINT}</p>'
    return f'<section id="{place}">\n<h1>{html.escape(page.title)}</h1>\n{source}\n{blocks}\n</section>\n'


def _block(block: object, folder: Path, names: dict[str, str]) -> str:
    match block:
        case Heading():
            name = names.get(f"#{slug(block.text)}", "")
            return f'<h{block.level} id="{name}">{inline(block.text, names)}</h{block.level}>'
        case Bullets():
            items = "".join(f"<li>{inline(item, names)}</li>" for item in block.items)
            return f"<ul>{items}</ul>"
        case Code():
            return f"<pre>{html.escape(block.text)}</pre>"
        case Table():
            return _table(block, names)
        case Figure():
            return _figure(block, folder, names)
        case _:
            return f"<p>{inline(str(block), names)}</p>"


def _table(table: Table, names: dict[str, str]) -> str:
    head = "".join(
        f'<th scope="col"{_side(place, table)}><button type="button">{inline(cell, names)}</button></th>'
        for place, cell in enumerate(table.header)
    )
    rows = ""
    for row in table.rows:
        cells = (f"<td{_side(place, table)}>{inline(cell, names)}</td>" for place, cell in enumerate(row))
        rows += f"<tr>{''.join(cells)}</tr>\n"
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'


def _side(place: int, table: Table) -> str:
    return ' class="left"' if place < table.left else ""


def _figure(figure: Figure, folder: Path, names: dict[str, str]) -> str:
    data = base64.b64encode((folder / figure.path).read_bytes()).decode("ascii")
    image = f'<img alt="{html.escape(figure.alt)}" src="data:image/png;base64,{data}" loading="lazy">'
    return f"<figure>{image}<figcaption>{inline(figure.caption, names)}</figcaption></figure>"
