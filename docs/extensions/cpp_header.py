"""The directive ``cpp-header``, which documents a C++ header from its comments."""

import pathlib

import cpp_comments
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles


class CppHeader(Directive):
    """Document a header. The argument is its path, relative to the folder of the page."""

    required_arguments = 1

    def run(self):
        env = self.state.document.settings.env
        path = (pathlib.Path(env.doc2path(env.docname)).parent / self.arguments[0]).resolve()
        env.note_dependency(str(path))
        text = path.read_text(encoding="utf-8")
        lines = cpp_comments.document(text)
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, str(path)), node)
        return node.children


def setup(app):
    app.add_directive("cpp-header", CppHeader)
    return {"version": "1", "parallel_read_safe": True}
