"""Is an output what its markers say: every file, row and reference; and what to do where it is not.

report = verify("runs/demo")     # or s3://bucket/prefix
report.sound, report.problems
"""

from pipeline.verification.report import Part, Problem, Remedy, Report
from pipeline.verification.verify import verify

__all__ = ["Part", "Problem", "Remedy", "Report", "verify"]
