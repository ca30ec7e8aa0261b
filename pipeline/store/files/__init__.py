"""One interface to a folder of files, on a local disk or S3: read, list, and create without overwriting."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data_file": ["DataFile", "DataPath", "files_dataset", "write_data_file"],
        "data_folder": ["DataFolder", "Entry"],
        "local": ["LocalFolder"],
        "s3": ["S3Folder"],
    },
)
