"""The documentation's configuration: ``.ci/docs`` builds it."""

from rectifier import __version__

project, author, release, version = "rectifier", "the authors of rectifier", __version__, __version__
project_copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "rectifier.tools.site"]
myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 4
default_role = "code"
napoleon_use_rtype, napoleon_use_ivar = False, True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
highlight_language = "text"
smartquotes = False  # quotes stay as they are written

html_theme = "furo"
html_title = f"rectifier {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_use_index = html_domain_indices = False
html_show_search_summary = False  # which is fetched page by page: a browser refuses that for files
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00598a", "color-brand-content": "#00598a"},
    "dark_css_variables": {"color-brand-primary": "#66b8e8", "color-brand-content": "#66b8e8"},
}
