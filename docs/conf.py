"""Settings of the documentation site.

pip install '.[docs]'
python -m sphinx -W docs build/html
"""

import pathlib
import sys

import pointwise

sys.path.insert(0, str(pathlib.Path(__file__).parent / "extensions"))
import gallery

ROOT = pathlib.Path(__file__).resolve().parents[1]

project = "pointwise"
author = "the pointwise developers"
copyright = f"2026, {author}"
version = release = pointwise.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
    "repository",
    "cpp_header",
]
exclude_patterns = ["extensions", "pictures", "static", "templates", "gallery/*.py", "gallery/*.md5"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
templates_path = ["templates"]
nitpicky = False

# Markdown. The anchors of headings are those of git hosts.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# API
autosummary_generate = True
# Some file systems ignore the case of names, so conv and Conv need different file names.
autosummary_filename_map = {f"pointwise.{name}": f"pointwise.{name}-class" for name in ("Conv", "Cost", "Covariance")}
autodoc_typehints = "none"  # the docstrings have the types
autodoc_default_options = {"inherited-members": False}
numpydoc_show_class_members = False  # templates/autosummary/class.rst lists them
python_use_unqualified_type_names = True

# Pictures. One SVG per picture stays sharp at every width.
plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False
plot_apply_rcparams = True
plot_rcparams = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.edgecolor": "#8596a8",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": "#22303f",
    "axes.labelcolor": "#22303f",
    "xtick.color": "#22303f",
    "ytick.color": "#22303f",
    "savefig.facecolor": "white",
}
plot_working_directory = str(ROOT / "docs" / "pictures")

# The gallery shows the scripts of examples/. gallery.py gives each script a title.
gallery.remove_old_pages(ROOT)
gallery.write_sources(ROOT, ROOT / "build" / "gallery")
gallery.write_thumbnail(ROOT / "build" / "code_only.png")
sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "build" / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": gallery.pattern_of_scripts_that_run(ROOT),
    "reset_argv": "gallery.arguments",
    "image_scrapers": ("gallery.scrape",),
    "within_subsection_order": "gallery.Order",
    "default_thumb_file": str(ROOT / "build" / "code_only.png"),
    "download_all_examples": False,
    "notebook_extensions": set(),
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = f"pointwise {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "pointwise"},
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {page: [] for page in ("index", "why", "cpp", "reliability", "changelog", "security")}
