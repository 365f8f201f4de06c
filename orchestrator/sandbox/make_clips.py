"""Make the packaged clips: one a shape, length and sound. Needs PyAV: `python -m …make_clips`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from orchestrator.sandbox.media import FOLDER, SHAPES, clip_name

FPS = 5
RATE = 16_000


def make(path: Path, size: str, seconds: int, *, audio: bool) -> None:
    """A bar that moves across a plain ground, so that playing it shows that it plays."""
    width, height = SHAPES[size]
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as target:
        video = target.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"crf": "40", "preset": "veryslow"}
        sound = target.add_stream("aac", rate=RATE, layout="mono") if audio else None
        if sound is not None:
            sound.bit_rate = 8_000
        frames = FPS * seconds
        for index in range(frames):
            frame = av.VideoFrame(width, height, "yuv420p")
            _paint(frame, index / frames)
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            target.mux(video.encode(frame))
        if sound is not None:
            for start in range(0, RATE * seconds, 1024):
                silence = av.AudioFrame("fltp", "mono", 1024)
                silence.planes[0].update(bytes(silence.planes[0].buffer_size))
                silence.sample_rate, silence.pts = RATE, start
                target.mux(sound.encode(silence))
            target.mux(sound.encode(None))
        target.mux(video.encode(None))


def _paint(frame: av.VideoFrame, share: float) -> None:
    luma = frame.planes[0]
    row = bytearray(b"\x50" * luma.line_size)
    left = int(share * frame.width * 0.9)
    row[left : left + frame.width // 10] = b"\xc0" * (frame.width // 10)
    luma.update(bytes(row) * (luma.buffer_size // luma.line_size))
    for plane in frame.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for size in SHAPES:
        for seconds in (5, 10):
            for audio in (False, True):
                path = FOLDER / clip_name(size, seconds, audio=audio)
                make(path, size, seconds, audio=audio)
                print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
