"""A sweep or a training as a job on a Ray cluster: what is sent, where to, and how it is followed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "client": ["JobClient", "Job", "name_of"],
        "working_dir": ["JobPackage", "Mounts"],
    },
)
