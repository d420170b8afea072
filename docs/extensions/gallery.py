"""Prepares the scripts of examples/ for sphinx-gallery.

A script draws a picture only with ``--plot FILE.png``, and its docstring has no title. So the gallery reads copies of
the scripts, whose docstring begins with the title of the recipe in docs/guide/recipes/. The gallery runs a script if
the libraries that it imports are installed. Otherwise it shows only the code.
"""

import ast
import importlib.util
import pathlib
import re
import shutil

PICTURE = "picture.png"
HEADER = """\
Gallery
=======

Each script makes its own data, checks its result against NumPy and draws a picture. Run a script from a clone:
``python examples/NAME.py --plot FILE.png``.
"""
NOT_RUN = "The libraries of this script were not installed when this page was built. So the page shows no output."


def scripts(root):
    return sorted((root / "examples").glob("*.py"))


def recipe_of(root, script):
    """Return the name of the recipe's page, without the suffix, and the first heading of the page."""
    name = script.stem.replace("_", "-")
    text = (root / "docs" / "guide" / "recipes" / f"{name}.md").read_text(encoding="utf-8")
    return name, re.match(r"# (.*)", text)[1]


def missing(script):
    """Return the libraries that a script imports and that are not installed."""
    names = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return sorted(name for name in names if importlib.util.find_spec(name) is None)


def pattern_of_scripts_that_run(root):
    """Return a regular expression for the file names of the scripts whose libraries are installed."""
    names = [re.escape(script.name) for script in scripts(root) if not missing(script)]
    return rf"/({'|'.join(names)})$"


def with_title(root, script):
    """Return the text of a script whose docstring begins with a title and a link to the recipe."""
    text = script.read_text(encoding="utf-8")
    words = ast.get_docstring(ast.parse(text))
    page, title = recipe_of(root, script)
    lines = [
        title,
        "=" * len(title),
        "",
        words,
        "",
        f"The recipe :doc:`/guide/recipes/{page}` explains the main lines.",
    ]
    if names := missing(script):
        lines += ["", f".. note:: {NOT_RUN} It needs {', '.join(names)}."]
    head, _, rest = text.partition('"""')
    rest = rest.partition('"""')[2]
    return f'{head}"""\n' + "\n".join(lines) + f'\n"""{rest}'


def remove_old_pages(root):
    """Remove pages that an earlier build generated: those of the API, and those of scripts that are gone."""
    shutil.rmtree(root / "docs" / "generated", ignore_errors=True)
    names = {script.stem for script in scripts(root)}
    for path in (root / "docs" / "gallery").glob("*.rst"):
        if path.stem not in names:
            path.unlink()


def write_sources(root, folder):
    """Write the scripts with their titles, and the header of the gallery, to a folder. Keep files that are the same."""
    texts = {script.name: with_title(root, script) for script in scripts(root)}
    texts["GALLERY_HEADER.rst"] = HEADER
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in texts and path.is_file():
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def write_thumbnail(path):
    """Draw the thumbnail of scripts that do not run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2.8), facecolor="#f3f4f5")
    figure.text(0.5, 0.5, "code only", ha="center", va="center", fontsize=28, color="#48566b")
    figure.savefig(path)


def arguments(gallery_conf, script_vars):
    """Return the arguments of a script: draw a picture. The working directory is the folder of the script."""
    return ["--plot", PICTURE]


def scrape(block, block_vars, gallery_conf):
    """Move the picture that a script has drawn to the gallery, and return the reStructuredText that shows it."""
    from sphinx_gallery.scrapers import figure_rst

    picture = pathlib.Path(PICTURE)
    if not picture.is_file():
        return ""
    target = next(block_vars["image_path_iterator"])
    shutil.move(picture, target)
    title = pathlib.Path(block_vars["src_file"]).stem.replace("_", " ")
    return figure_rst([target], gallery_conf["src_dir"], f"the picture that the script draws: {title}")


class Order:
    """The key by which sphinx-gallery sorts scripts: the order of docs/guide/recipes.md. Other scripts come last."""

    def __init__(self, source):
        root = pathlib.Path(__file__).resolve().parents[2]
        self.names = re.findall(r"`(\w+\.py)` \|", (root / "docs/guide/recipes.md").read_text(encoding="utf-8"))

    def __call__(self, name):
        return self.names.index(name) if name in self.names else len(self.names)
