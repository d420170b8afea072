"""Test the wording of comments and documentation, and the hook that checks the subjects of commit messages."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HOOK = ROOT / ".githooks" / "commit-msg"
IN_CHECKOUT = (ROOT / ".git").exists() and shutil.which("git") is not None
NO_CHECKOUT = "there is no git checkout, as in a source archive"

CHECKED = [
    "*.h",
    "*.cpp",
    "*.py",
    "*.pyi",
    "*.md",
    "*.cmake",
    ":(glob)**/CMakeLists.txt",
    ".ci/run",
    ".ci/wheel",
    ".github/*.yml",
]
RIDDLE = re.compile(r"(?:What|Of|Who|Whether what)(?=\s|$)")
PHRASES = ["side by side", "somebody", "nobody", "of ours", "past the caches", "so many", "of a build before"]
SPACE = r'(?:[ \t]+|[ \t"]*\n[ \t/#>"]*)'  # blanks, or a line end within a paragraph, a comment or a string literal
PHRASE = re.compile("|".join(rf"\b{SPACE.join(phrase.split())}\b" for phrase in PHRASES), re.IGNORECASE)
CPP_COMMENT = re.compile(r"(?<!:)//+\s*(.*)")
HASH_COMMENT = re.compile(r"(?<!\S)#+\s*(.*)")
DOCSTRING = re.compile(r'\s*[rR]?"""\s*(.*)')
HEADING = re.compile(r"#+\s+(.*)")
LIST_ITEM = re.compile(r"(?:[-*+]|\d+[.)])\s+(.*)")


def files():
    if not IN_CHECKOUT:
        return []
    tracked = subprocess.run(["git", "ls-files", "-z", "--", *CHECKED], cwd=ROOT, check=True, capture_output=True)
    names = [name for name in tracked.stdout.decode().split("\0") if (ROOT / name).is_file()]
    return sorted(set(names) - {pathlib.Path(__file__).relative_to(ROOT).as_posix(), ""})


def comment_openings(text, comment):
    """Yield the line number and the first line of each comment. Consecutive lines are one comment."""
    goes_on = False
    for number, line in enumerate(text.splitlines(), 1):
        found = comment.search(line)
        alone = found is not None and not line[: found.start()].strip()
        if found and not (alone and goes_on):
            yield number, found[1]
        goes_on = alone and found[1] != "" and not found[1].startswith("clang-format")


def docstring_openings(text):
    for number, line in enumerate(text.splitlines(), 1):
        if found := DOCSTRING.match(line):
            yield number, found[1]


def markdown_openings(text):
    """Yield the line number and the first line of each paragraph, list item and heading. Headings may be questions."""
    in_code = in_paragraph = False
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip(" >")
        if words.startswith("```"):
            in_code, in_paragraph = not in_code, False
        elif in_code or not words:
            in_paragraph = False
        elif heading := HEADING.match(words):
            in_paragraph = False
            if not words.endswith("?"):
                yield number, heading[1]
        elif item := LIST_ITEM.match(words):
            in_paragraph = True
            yield number, item[1]
        elif not in_paragraph:
            in_paragraph = True
            yield number, words


def openings(name, text):
    if name.endswith(".md"):
        return markdown_openings(text)
    if name.endswith((".h", ".cpp")):
        return comment_openings(text, CPP_COMMENT)
    if name.endswith((".py", ".pyi")):
        return [*comment_openings(text, HASH_COMMENT), *docstring_openings(text)]
    return comment_openings(text, HASH_COMMENT)


def complaints(name, text):
    """Return the places of a file that need other words, as "file:line: words"."""
    found = [(number, words) for number, words in openings(name, text) if RIDDLE.match(words)]
    found += [(text.count("\n", 0, match.start()) + 1, match[0]) for match in PHRASE.finditer(text)]
    return [f"{name}:{number}: {words}" for number, words in sorted(found)]


@pytest.mark.skipif(not IN_CHECKOUT, reason=NO_CHECKOUT)
def test_files_are_found():
    names = files()
    assert {"README.md", "CMakeLists.txt", "cpp/include/pointwise/pointwise.h", ".ci/run"} <= set(names)
    assert "tests/structure/test_prose.py" not in names


@pytest.mark.parametrize("name", files())
def test_prose(name):
    assert complaints(name, (ROOT / name).read_text(encoding="utf-8")) == []


BAD = [
    ("a.h", "// What the parts share.\n", 1),
    ("a.h", "int n;  // Of a thread.\n", 1),
    ("a.cpp", "int a;  // the first\nint b;  // Of the second\n", 2),
    ("a.cpp", "// Returns n.\n//\n// Who computes pieces.\n", 3),
    ("a.cpp", "// clang-format off\n// What it takes.\n", 2),
    ("a.cpp", "  // Whether what follows is read.\n", 1),
    ("a.py", "# Of the layers\n", 1),
    ("a.py", 'def f():\n    """What float64 computes."""\n', 2),
    ("a.py", '"""Who takes part."""\n', 1),
    ("a.cmake", "set(a 1)\n# What is built.\n", 2),
    ("tests/CMakeLists.txt", "add_test(NAME a)  # Of each set\n", 1),
    (".ci/run", "  # What a machine lacks.\n", 1),
    ("a.md", "Text.\n\nWhat a copy takes\nis this.\n", 3),
    ("a.md", "- Layers\n- Of a chain, the first\n", 2),
    ("a.md", "1. Who asks, waits.\n", 1),
    ("a.md", "> Of a layer\n", 1),
    ("a.md", "## What it does\n", 1),
    ("a.md", "# Heading\nOf a heading\n", 2),
    ("a.md", "```\ncode\n```\nWhat it prints.\n", 4),
    ("a.h", "// Pixels that lie side by side.\n", 1),
    ("a.h", "// Pixels that lie side by\n// side.\n", 1),
    ("a.py", "# Stores go past\n# the caches.\n", 1),
    ("a.cpp", 'const char* s = "channels are not side by "\n                "side";\n', 1),
    ("a.py", "raise ValueError('so many axes')\n", 1),
    ("a.md", "Threads\nof ours.\n", 2),
    ("a.md", "Nobody waits, and Somebody works.\n", 1),
    (".ci/run", "# Results of a build before\n", 1),
]
GOOD = [
    ("a.h", "// Returns what the parts share.\n// What follows is a sentence of the same comment.\n"),
    ("a.h", "// Whatever the layout, offsets are bytes.\nint of;  // of a thread\n"),
    ("a.cpp", 'const char* url = "https://What is this";\n'),
    ("a.py", '"""Fit the constants."""\ntext = "What is it?"  # read from a file\n'),
    ("a.md", "# What is a pointwise convolution?\n\nIt maps channels.\nOf these, many are zero.\n"),
    ("a.md", "```python\n# What is printed\n```\n\n| What | Of |\n"),
    ("a.md", "The side by the sides has so\n\nmany\n"),
    ("a.cmake", "# Builds the tests.\nset(Of What)\n"),
    (".ci/run", "step 'What comes'\n"),
    ("a.py", "caches = past_the_caches\n"),
]


@pytest.mark.parametrize(("name", "text", "line"), BAD)
def test_bad_prose_is_found(name, text, line):
    found = complaints(name, text)
    assert found
    assert all(complaint.startswith(f"{name}:{line}: ") for complaint in found)


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_good_prose_passes(name, text):
    assert complaints(name, text) == []


def run_hook(tmp_path, message):
    path = tmp_path / "message"
    path.write_text(message, encoding="utf-8")
    return subprocess.run([HOOK, path], capture_output=True, text=True)


@pytest.mark.skipif(not IN_CHECKOUT, reason=NO_CHECKOUT)
class TestCommitMessages:
    def test_the_hook_is_executable(self):
        assert os.access(HOOK, os.X_OK)

    @pytest.mark.parametrize(
        "message",
        [
            "Compile activation constants without ISA flags\n",
            "x" * 72,
            "ü" * 72,
            "Keep plans\n\n" + "A body may be long, and have periods. " * 5000,
            "# a comment of more than seventy-two characters, which git removes from the message.\n\nKeep plans\n",
            "Merge branch 'a branch whose name is much too long for a subject of seventy-two characters'\n",
            'Revert "format"\n',
            "fixup! Format the kernels.\n",
            "Return an information object\n",
            "# Please enter the commit message.\n",
        ],
    )
    def test_good_messages_pass(self, tmp_path, message):
        ran = run_hook(tmp_path, message)
        assert (ran.returncode, ran.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("message", "complaint"),
        [
            ("x" * 73 + "\n", "at most 72 characters, got 73"),
            ("ü" * 73 + "\n", "at most 72 characters, got 73"),
            ("Keep plans.\n", "must not end in a period"),
            ("Keep plans. \n", "must not end in a period"),
            ("# a comment\nKeep plans.\n", "must not end in a period"),
            ("format\n", 'must not begin with "format"'),
            ("Format the kernels\n", 'must not begin with "format"'),
            ("Formatting\n\nA body.\n", 'must not begin with "format"'),
        ],
    )
    def test_bad_messages_are_refused(self, tmp_path, message, complaint):
        ran = run_hook(tmp_path, message)
        assert ran.returncode == 1
        assert complaint in ran.stderr
        assert "git commit -e -F" in ran.stderr

    def test_every_complaint_is_printed(self, tmp_path):
        ran = run_hook(tmp_path, "format " + "x" * 80 + ".")
        assert ran.stderr.count("the subject must") == 3
