"""Notes: labels, groups and saved views that people write, import or have written beside the tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "labels": ["FeatureLabel", "beats_control", "feature_labels", "labels_beside"],
        "note": [
            "Note",
            "current_notes",
            "note_names",
            "read_note",
            "read_notes",
            "write_note",
            "write_notes",
        ],
        "tables": ["exported_notes", "import_notes", "note_tables"],
    },
)
