"""Video files in and out through PyAV (extra ``[video]``), which is imported when the first one is opened."""

from . import container as container, reading as reading, writing as writing
from .container import VideoError as VideoError, available as available, open_source as open_source
from .reading import (
    MOST_BYTES as MOST_BYTES,
    Video as Video,
    VideoInfo as VideoInfo,
    info as info,
    picture_times as picture_times,
    pictures as pictures,
    read_sound as read_sound,
    read_video as read_video,
)
from .writing import (
    WRITTEN_SUFFIXES as WRITTEN_SUFFIXES,
    check_sound as check_sound,
    encoder as encoder,
    write_video as write_video,
    writer as writer,
)
