"""Training over processes and machines: units of layers, checkpoints that count or do not, the end."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "run": ["TrainingReport", "located", "train"],
        "sample": ["MeasuredSpeed", "measure_speed"],
        "sizing": ["TrainingSizes", "machine_here", "matrix_rate", "sizes_of"],
        "status": ["TrainingStatus", "UnitStatus", "is_training", "read_training_status"],
        "verify": ["TrainingCheck", "verify_training"],
    },
)
