"""The sections of a run's page, each a file here and a template of the same name.

A section says its `PLACE` on the page, its `ANCHOR`, its `TITLE` and, for the page's navigation, its `NAME`; `FILES`
are those whose damage it shows. `content(page)` gives what its template is filled with, or None where there is nothing
to show; what it raises of a damaged file is shown in its place. With `STYLE`, the section has a class of that name.
"""
