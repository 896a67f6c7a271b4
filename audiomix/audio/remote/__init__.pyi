"""Files behind URLs (``s3://``, ``gs://``, ``sftp://``, ``memory://``...), through fsspec (extra ``[remote]``)."""

from . import copies as copies, urls as urls
