"""Images inside an input's canonical JSON: taken out for keeping, and put back byte for byte."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

_INLINE = re.compile(r'("image_url":"data:[^"\\,]*;base64,)([A-Za-z0-9+/=]+)"')


@dataclass(frozen=True, slots=True)
class Image:
    """An image's bytes and what they are kept under."""

    sha256: str
    content: bytes


def detach(input_json: str) -> tuple[str, Image | None]:
    """The input with a reference in place of its image, and the image.

    Left whole, with None, where there is no image or its base64 is not the one way to write it.
    """
    found = _INLINE.search(input_json)
    if found is None:
        return input_json, None
    try:
        content = binascii.a2b_base64(found[2], strict_mode=True)
    except ValueError:
        return input_json, None
    image = Image(hashlib.sha256(content).hexdigest(), content)
    short = f"{input_json[: found.start()]}{_reference(found[1], image.sha256)}"
    short += input_json[found.end() :]
    return (short, image) if attach(short, image) == input_json else (input_json, None)


def attach(input_json: str, image: Image) -> str:
    """The input as it was before `detach`."""
    text = base64.b64encode(image.content).decode()
    return input_json.replace(f';base64,sha256:{image.sha256}"', f';base64,{text}"', 1)


def _reference(head: str, sha256: str) -> str:
    # A colon is no character of base64: no inline image looks like this.
    return f'{head}sha256:{sha256}"'
