"""The sweep's model, alive in a process of its own: what-if, doses, effects, and new prompts traced.

The page's server never imports torch. A process that dies, hangs or runs out of memory costs an answer, and
the next question starts another.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"loaded": ["Loaded"], "model": ["WAITING", "LiveModel"], "script": ["python_of"]},
)
