from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.serving.bounded_log import BoundedLog, last_lines


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=40))
def test_two_files_bound_the_size_and_the_end_is_kept(tmp_path_factory, chunks):
    path = tmp_path_factory.mktemp("log") / "child.log"
    log = BoundedLog(path, max_bytes=100)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    predecessor = path.with_name("child.log.1")
    kept = (predecessor.read_bytes() if predecessor.exists() else b"") + path.read_bytes()
    assert b"".join(chunks).endswith(kept)
    assert path.stat().st_size <= 100
    assert len(kept) <= 200
    assert len(kept) >= min(len(b"".join(chunks)), 60)


def test_it_goes_on_where_the_file_ended(tmp_path):
    path = tmp_path / "child.log"
    for text in (b"one\n", b"two\n"):
        log = BoundedLog(path)
        log.write(text)
        log.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_last_lines(tmp_path):
    path = tmp_path / "child.log"
    assert last_lines(path) == ""
    path.write_text("\n".join(str(n) for n in range(100)))
    assert last_lines(path, 2) == "98\n99"
