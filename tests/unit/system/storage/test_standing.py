"""What an overlay names as its layers, however the kernel writes it down."""

from __future__ import annotations

import pytest

from holdfast.system.storage.standing import overlay_layers


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ("rw,lowerdir=/a:/b,upperdir=/c,workdir=/d,uuid=on", ["/a", "/b", "/c", "/d"]),
        ("ro,lowerdir+=/a,lowerdir+=/b,datadir+=/e", ["/a", "/b", "/e"]),
        ("ro,lowerdir=/a::/data", ["/a", "/data"]),
        ("rw,lowerdir=lower,upperdir=upper,workdir=work", []),
        (r"rw,lowerdir=/with\040space:/two\134:parts,upperdir=/a\134,b", None),
        (r"rw,lowerdir=/with\040space:/two\072parts,upperdir=/a\054b", None),
    ],
)
def test_layers(options: str, layers: list[str] | None) -> None:
    assert overlay_layers(options) == (layers or ([] if layers == [] else _ODD))


_ODD = ["/with space", "/two:parts", "/a,b"]
