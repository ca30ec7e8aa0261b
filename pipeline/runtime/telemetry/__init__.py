"""News of a run for others: its bar and log, the state that others read in the output, and Prometheus."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "announcer": ["Announcer"],
        "metrics": ["Metrics"],
        "progress": ["Progress"],
        "run_log": ["LINE_SECONDS", "RunLog"],
        "run_report": ["RunReport"],
        "run_state": ["NOTES", "read_said"],
        "status": ["Committed", "Status", "WorkerStatus", "read_status"],
    },
)
