"""A sweep's page without a server: one HTML file, or a folder where that would be too large."""

from pipeline.viewer.export.writing import ExportedPage, export_page

__all__ = ["ExportedPage", "export_page"]
