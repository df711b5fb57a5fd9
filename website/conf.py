"""How Sphinx makes the site of what `website/build.py` has put together. Nothing is executed: pages show what the
notebooks have stored."""

project = "GUIDE, a tutorial"
author = "the authors of the tutorial"
html_title = "Generative identity unlearning"
extensions = ["myst_nb", "sphinx_design"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["student"]
nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "html_image"]
myst_heading_anchors = 4
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_copyright = False
html_theme_options = {
    "repository_url": "https://github.com/guide-unlearning/guide-tutorial",
    "repository_branch": "main",
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "use_repository_button": True,
    "use_download_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # one field to search in is enough
}
