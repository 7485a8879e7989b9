import msgspec
import pytest

from model_store.manifest import FileEntry, Manifest, decode_manifest, encode_manifest
from tests.model_store.publishing import manifest


def test_manifest_survives_encoding() -> None:
    whole = msgspec.structs.replace(
        manifest(), version=3, files={"model.onnx": FileEntry("a" * 64, 5)}, labels=("zero", "one"), opset=18
    )

    assert decode_manifest(encode_manifest(whole)) == whole


def test_keys_of_later_releases_are_ignored() -> None:
    class Later(Manifest, kw_only=True):
        later: tuple[int, ...]

    later = Later(**msgspec.structs.asdict(manifest()), later=(1,))

    assert decode_manifest(encode_manifest(later)) == manifest()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a manifest"),
        (b"null", "not a manifest"),
        (encode_manifest(manifest())[:-1], "expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"),
        (
            encode_manifest(msgspec.structs.replace(manifest(), format=3)),
            "manifest format 3; this release reads 1 to 2",
        ),
        (b"[" * 100_000, "not a manifest"),
        (b'{"later": ' + b"[" * 100_000, "not a manifest"),
    ],
)
def test_what_is_no_manifest_of_this_format_is_a_value_error(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_manifest(data)
