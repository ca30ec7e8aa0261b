"""The file formats in which transcoders are published: one file a format, and the table of them."""

from pipeline.transcoders.formats.dispatch import FORMATS, format_of, read_files, read_folder, table

__all__ = ["FORMATS", "format_of", "read_files", "read_folder", "table"]
