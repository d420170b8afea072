"""Adapts Markdown pages for the documentation site. Git hosts show the same files unchanged.

- The pages of ``FILES`` have the text of a file of the repository, such as CHANGELOG.md.
- ``TOCTREES`` adds a table of contents to pages that have only links.
- Relative links to files outside of docs/ become links to the page that shows the file. If there is no such page, the
  link downloads the file. In the pages of ``FILES``, links to files in docs/ are adapted, too.
"""

import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FILES = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "layer-tables": "bench/layers/README.md",
}
TOCTREES = {
    "guide/recipes": "recipes/*",
    "design/index": "glossary\npipeline\ndrawings\nkernels\nnumbers\nthreads\ncost-model\ntried\n/contributing",
    "performance": "layer-tables",
}
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def page_of(path):
    """Return the document that shows a file of the repository, such as "/guide/threads.md", or None."""
    name = path.relative_to(ROOT).as_posix()
    for page, file in FILES.items():
        if name == file:
            return f"/{page}.md"
    if name == "README.md":
        return "/index.md"
    if path.parent == ROOT / "examples" and path.suffix == ".py":
        return f"/gallery/{path.stem}.rst"
    if path.is_relative_to(DOCS) and path.suffix == ".md":
        return f"/{path.relative_to(DOCS).as_posix()}"
    return None


def with_links(text, source, page):
    """Return Markdown with the links of the site. The text is from the file `source`, and the file `page` shows it."""

    def changed(match):
        target, anchor = match[1], match[2] or ""
        path = pathlib.Path(os.path.normpath(source.parent / target))
        if not path.is_relative_to(ROOT) or (source == page and path.is_relative_to(DOCS)):
            return match[0]
        shown = page_of(path)
        return f"]({shown or os.path.relpath(path, page.parent)}{anchor})"

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(changed, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(changed, text[end:])])


def read(app, docname, content):
    page = pathlib.Path(app.env.doc2path(docname))
    if page.suffix != ".md":
        return
    source = ROOT / FILES[docname] if docname in FILES else page
    text = source.read_text(encoding="utf-8") if docname in FILES else content[0]
    app.env.note_dependency(str(source))
    text = with_links(text, source, page)
    if docname in TOCTREES:
        text += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{TOCTREES[docname]}\n```\n"
    content[0] = text


def setup(app):
    app.connect("source-read", read)
    return {"version": "1", "parallel_read_safe": True}
