"""Images taken out of an input and put back."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.attachments import attach, detach
from orchestrator.domain.identity import canonical_json

_TEXTS = st.text(max_size=40) | st.sampled_from(
    ['","image_url":"data:image/png;base64,AAAA"', ";base64,sha256:", '"', "\\"]
)


@given(before=_TEXTS, after=_TEXTS, content=st.binary(min_size=1, max_size=200))
def test_an_input_comes_back_byte_for_byte(before: str, after: str, content: bytes) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    whole = canonical_json({"a": before, "image_url": uri, "prompt": after})
    short, image = detach(whole)
    assert image is not None
    assert image.content == content
    assert uri not in short
    assert attach(short, image) == whole


@given(text=st.text(alphabet="AQab/+=:", max_size=9) | _TEXTS)
def test_whatever_is_in_place_of_an_image_is_kept(text: str) -> None:
    whole = canonical_json({"image_url": f"data:image/png;base64,{text}", "prompt": text})
    short, image = detach(whole)
    assert (short if image is None else attach(short, image)) == whole


def test_base64_written_another_way_stays_as_it_is() -> None:
    whole = canonical_json({"image_url": "data:image/png;base64,QR=="})
    assert detach(whole) == (whole, None), "QQ== is how one byte A is written"
