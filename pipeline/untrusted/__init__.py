"""Strangers' files and words: read within bounds, parsed without surprises, shown without effects.

An output, a dictionary, a data set or a sweep file may come from anybody. What reads one of these takes its
sizes, its nesting and its text from here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "console": ["Console"],
        "files": ["open_regular", "read_bounded"],
        "json_text": ["JSON_BYTES", "parse_json"],
        "lines": ["count_lines"],
        "templates": ["TemplateError", "render_template"],
        "terminal": ["PrintableFormatter", "cut", "printable", "uncoloured"],
        "yaml_text": ["YAML_BYTES", "parse_yaml"],
    },
)
