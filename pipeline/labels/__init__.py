"""Labels of features: read from others' files, or asked of a language model and scored on unseen examples."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "endpoint": ["Endpoint", "EndpointError"],
        "import_file": ["is_note_file", "new_labels", "read_label_file"],
        "labelling": ["LabelPlan", "LabelReport", "make_labels", "plan_labels"],
    },
)
