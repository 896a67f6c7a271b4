"""Files behind URLs (``s3://``, ``gs://``, ``sftp://``, ``memory://``...), through fsspec (extra ``[remote]``).

fsspec is imported when the first URL is opened.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
