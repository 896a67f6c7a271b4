"""Files behind URLs (``s3://``, ``gs://``, ``sftp://``, ``memory://``...), through fsspec (extra ``[remote]``).

fsspec is imported when the first URL is opened.
"""
