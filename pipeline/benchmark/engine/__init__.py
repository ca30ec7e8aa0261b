"""Times, errors and counted arithmetic of the engine on models of fixed shapes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["agreement"],
        "arithmetic": ["matrix_product_rate", "row_operations"],
        "shapes": ["SHAPES", "build", "prompt"],
    },
)
