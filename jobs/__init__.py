"""What a person runs: one module per command, each with a `main(argv) -> exit code`."""

from importlib.util import find_spec
from pathlib import Path


def _refuse_shadows() -> None:
    """Refuse a folder in which Python would import the user's own files for ours: its errors say nothing."""
    for name in ("pipeline", "schemas"):
        spec = find_spec(name)
        ours = Path(__file__).parents[1] / name / "__init__.py"
        if spec is None or spec.origin is None or not ours.samefile(spec.origin):
            found = "nothing" if spec is None else spec.origin or "a folder of that name"
            raise SystemExit(
                f"error: Python finds {found} where Circuit Sweep needs its own package {name!r}: "
                "rename that file or folder, or start the command from another folder."
            )


_refuse_shadows()
