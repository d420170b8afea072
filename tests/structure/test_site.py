"""The sources of the documentation site are complete. CI builds the site itself (.ci/run)."""

import importlib.util
import pathlib
import re

import pointwise as pw
import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
HEADER = ROOT / "cpp/include/pointwise/pointwise.h"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "extensions" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_api_page_lists_every_public_name():
    listed = re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(set(pw.__all__) - {"__version__"})


def test_the_guide_lists_every_page():
    text = (DOCS / "guide.md").read_text(encoding="utf-8")
    toctree = text.partition("```{toctree}")[2]
    for page in (DOCS / "guide").glob("*.md"):
        assert f"](guide/{page.name})" in text
        assert f"\nguide/{page.stem}\n" in toctree


def test_rows_of_the_guide_are_those_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    rows = [line for line in readme.splitlines() if "](guide/" in line and line.startswith("|")]
    assert len(rows) > 10
    text = (DOCS / "guide.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in text.splitlines()] == []


def test_pictures_are_used_and_exist():
    scripts = {path.name for path in (DOCS / "pictures").glob("*.py")} - {"drawing.py"}
    pages = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert set(re.findall(r"^\.\. plot:: (?:\S*/)?(\w+\.py)$", pages, re.MULTILINE)) == scripts


def test_every_picture_has_a_description():
    for page in DOCS.rglob("*.md"):
        for _, option in re.findall(r"^\.\. plot:: (\S+)\n(.*)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert option.startswith("   :alt: "), page.name


class TestCppComments:
    def test_every_declaration_of_the_header_is_shown(self):
        text = HEADER.read_text(encoding="utf-8")
        lines = load("cpp_comments").document(text)
        declared = "\n".join(line for line in lines if re.match(r" *\.\. cpp:| {18}", line))
        names = re.findall(r"^(?:enum class|class|struct) (\w+)", text, re.MULTILINE)
        names += re.findall(r"^(?:inline )?[\w:<> ]+?[&*]? (\w+)\(", text, re.MULTILINE)
        assert {"DType", "View", "Layer", "Chain", "cost", "gradient_of_weights", "isa", "version"} <= set(names)
        assert [name for name in names if not re.search(rf"\b{name}\b", declared)] == []
        assert "Impl" not in declared

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["// Returns n.", "int f();"], [".. cpp:function:: int f()", "", "   Returns n.", ""]),
            (["/// Returns n.", "int f();"], [".. cpp:function:: int f()", "", "   Returns n.", ""]),
            (["int n = 0;  ///< m"], [".. cpp:member:: int n = 0", "   :no-contents-entry:", "", "   m", ""]),
            (["int n = 0;  // pixels"], [".. cpp:member:: int n = 0", "   :no-contents-entry:", "", "   pixels", ""]),
            (
                ["// Copy `a` or b_*.", "void a();", "void b();"],
                [".. cpp:function:: void a()", " " * 18 + "void b()", "", "   Copy ``a`` or b\\_\\*.", ""],
            ),
            (
                ["// Returns n.", "int f();", "int g();  // m"],
                [".. cpp:function:: int f()", "", "   Returns n.", "", ".. cpp:function:: int g()", "", "   m", ""],
            ),
        ],
    )
    def test_comments_become_text(self, lines, expected):
        assert load("cpp_comments").rst(lines) == expected


class TestLinks:
    @pytest.mark.parametrize(
        ("text", "source", "page", "expected"),
        [
            ("[a](docs/design/glossary.md)", "CONTRIBUTING.md", "docs/contributing.md", "[a](/design/glossary.md)"),
            ("[a](../../../examples/stains.py)", "docs/guide/recipes/stains.md", None, "[a](/gallery/stains.rst)"),
            ("[a](../reliability.md#memory)", "docs/guide/memory.md", None, "[a](../reliability.md#memory)"),
            ("[a](../../README.md)", "docs/guide/memory.md", None, "[a](/index.md)"),
            ("[a](https://example.org/x)", "docs/guide/memory.md", None, "[a](https://example.org/x)"),
            ("```\n[a](../README.md)\n```", "docs/api.md", None, "```\n[a](../README.md)\n```"),
            ("[a](LICENSE)", "SECURITY.md", "docs/security.md", "[a](../LICENSE)"),
        ],
    )
    def test_links_lead_to_pages(self, text, source, page, expected):
        assert load("repository").with_links(text, ROOT / source, ROOT / (page or source)) == expected


def test_scripts_of_the_gallery_have_titles():
    gallery = load("gallery")
    for script in gallery.scripts(ROOT):
        text = gallery.with_title(ROOT, script)
        _, title, line, *_ = text.partition('"""')[2].splitlines()
        assert title
        assert line == "=" * len(title)
        assert text.endswith(script.read_text(encoding="utf-8").partition('"""')[2].partition('"""')[2])
