"""Video files in and out through PyAV (extra ``[video]``), which is imported when the first one is opened."""

from .container import VideoError
from .reading import MOST_BYTES, Video, VideoInfo, info, picture_times, pictures, read_sound, read_video
from .writing import WRITTEN_SUFFIXES, check_sound, encoder, write_video, writer

__all__ = [
    "MOST_BYTES",
    "WRITTEN_SUFFIXES",
    "Video",
    "VideoError",
    "VideoInfo",
    "check_sound",
    "encoder",
    "info",
    "picture_times",
    "pictures",
    "read_sound",
    "read_video",
    "write_video",
    "writer",
]
