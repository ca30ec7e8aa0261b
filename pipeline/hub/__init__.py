"""Names of models and transcoders: a folder on this machine, or a repository on the Hugging Face Hub.

    org/name               the current `main`
    org/name@revision      a branch, a tag or a commit
    org/name/folder        a folder of the repository (transcoders only)
    org/name/x_{layer}/y   one folder (or file) of it for each layer (transcoders only); `*` is any text
    ./folder               on this machine
    s3://bucket/folder     on a store, fetched to this machine once (transcoders only)
    neurons                no files: the model's own neurons (transcoders only)

Every name is read, pinned to a commit or a content, and fetched here. Imports no torch, which `submit` does
without.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "download": ["fetch_file", "fetch_snapshot", "list_files"],
        "names": [
            "LAYER",
            "HubName",
            "Kind",
            "as_glob",
            "before_pattern",
            "is_pattern",
            "local_path",
            "parse",
        ],
        "neurons": ["Neurons"],
        "contents": ["file_fingerprint", "read_files"],
        "pinning": ["Pinned", "pin"],
        "remote": ["RemoteName"],
    },
)
