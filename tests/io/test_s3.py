"""Objects of a real S3 server, and their copies in the cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tao_skill.errors import BadData, BadRequest, CannotWrite, MissingDependency, NotFound
from tao_skill.io import s3_cache
from tao_skill.io.s3 import S3, Unreachable, _access, check_address, credentials
from tao_skill.io.s3_cache import Staged
from tests.support.servers.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server
from tests.support.waiting import until

CONTENT = b"0123456789" * 1000

STAGE = """
import os, sys
from pathlib import Path
from tao_skill.io import s3, s3_cache
staged = s3_cache.stage(sys.argv[1], s3_cache.cache_root(os.environ), s3.S3(os.environ), lambda done, total: None)
print(staged.path)
"""


@pytest.fixture
def server(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3_server.forget()
    return s3_server


def stage(server: S3Server, uri: str, root: Path, **changes: str | None) -> Staged:
    return s3_cache.stage(uri, root, S3(server.environment(root, **changes)), lambda done, total: None)


def start_staging(server: S3Server, uri: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, uri], env=server.environment(root), stdout=subprocess.PIPE, text=True
    )


def until_asked(server: S3Server, method: str) -> None:
    until(lambda: server.count(method))


def whole_files(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


def test_an_object_is_fetched_once_with_progress_and_then_only_looked_at(server: S3Server, tmp_path: Path) -> None:
    uri = server.put("a/train_data.npy", CONTENT)
    seen: list[tuple[int, int]] = []
    first = s3_cache.stage(uri, tmp_path, S3(server.environment(tmp_path)), lambda *told: seen.append(told))
    assert first.path.read_bytes() == CONTENT
    assert first.path.name == "train_data.npy"
    assert "fetched, 10000 bytes" in first.origin
    assert seen == [(0, 10000), (10000, 10000)]
    assert server.count("GET") == 1
    again = stage(server, uri, tmp_path)
    assert (again.path, server.count("GET")) == (first.path, 1)
    assert "unchanged" in again.origin
    assert whole_files(tmp_path) == {"train_data.npy", "entry.json"}


def test_a_changed_object_is_fetched_again_and_the_old_copy_stays_for_who_reads_it(
    server: S3Server, tmp_path: Path
) -> None:
    old = stage(server, server.put("changing", CONTENT), tmp_path).path
    new = stage(server, server.put("changing", CONTENT[::-1]), tmp_path).path
    assert (old.read_bytes(), new.read_bytes()) == (CONTENT, CONTENT[::-1])
    assert stage(server, server.put("changing", CONTENT), tmp_path).path == old
    assert s3_cache._newest(old.parents[1]) == old.with_name("entry.json")


@pytest.mark.parametrize("broken", [CONTENT[:-1], CONTENT[:-1] + b"x", None], ids=["cut", "one byte", "gone"])
def test_a_broken_copy_is_noticed_and_fetched_again(server: S3Server, tmp_path: Path, broken: bytes | None) -> None:
    uri = server.put("kept", CONTENT)
    path = stage(server, uri, tmp_path).path
    path.unlink() if broken is None else path.write_bytes(broken)
    assert stage(server, uri, tmp_path).path.read_bytes() == CONTENT
    assert server.count("GET") == 2


@pytest.mark.parametrize("checksums", [True, False], ids=["noticed by the library", "noticed by its MD5"])
def test_what_arrives_damaged_is_refused_and_not_kept(server: S3Server, tmp_path: Path, checksums: bool) -> None:
    uri = server.put("damaged", CONTENT)
    server.damage, server.checksums = {"GET"}, checksums
    with pytest.raises(BadData, match="damaged in transfer"):
        stage(server, uri, tmp_path)
    assert whole_files(tmp_path) == set()
    server.forget()
    assert stage(server, uri, tmp_path).path.read_bytes() == CONTENT


def test_an_object_that_changes_while_it_is_read_is_never_mixed(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tao_skill.io.s3._CHUNK", 4000)
    uri = server.put("moving", CONTENT)
    changes = iter([CONTENT[::-1]])

    def change(method: str) -> None:
        if method == "GET" and (content := next(changes, None)):
            server.put("moving", content)

    server.after = change
    with pytest.raises(BadData, match="changed while it was read"):
        stage(server, uri, tmp_path)
    assert whole_files(tmp_path) == set()


def test_an_object_written_in_parts_has_no_md5_and_is_staged_all_the_same(server: S3Server, tmp_path: Path) -> None:
    key, size = "parts.npy", 5 * 2**20
    upload = server.client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": server.client.upload_part(
                Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=bytes([number]) * size
            )["ETag"],
        }
        for number in (1, 2)
    ]
    server.client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    found = S3(server.environment(tmp_path)).describe(f"s3://{BUCKET}/{key}")
    assert found is not None
    assert (found.md5, found.size) == (None, 2 * size)
    copy = stage(server, found.uri, tmp_path).path.read_bytes()
    assert (len(copy), copy[0], copy[-1]) == (2 * size, 1, 2)


def test_two_processes_that_want_the_same_object_fetch_it_once(server: S3Server, tmp_path: Path) -> None:
    uri = server.put("wanted", CONTENT)
    server.delay_s = {"GET": 1.0}
    both = [start_staging(server, uri, tmp_path) for _ in range(2)]
    paths = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert not paths
    assert server.count("GET") == 1


def test_a_process_killed_while_it_fetches_leaves_no_half_file_behind(server: S3Server, tmp_path: Path) -> None:
    uri = server.put("killed", CONTENT)
    server.delay_s = {"GET": 2.0}
    process = start_staging(server, uri, tmp_path)
    until_asked(server, "GET")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert any(name.endswith(".tmp") for name in whole_files(tmp_path))
    server.forget()
    assert stage(server, uri, tmp_path).path.read_bytes() == CONTENT
    assert whole_files(tmp_path) == {"killed", "entry.json"}


def test_without_the_server_a_whole_copy_serves_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    other = S3Server()
    uri, lost = other.put("kept", CONTENT), other.put("lost", CONTENT)
    path, cut = stage(other, uri, tmp_path).path, stage(other, lost, tmp_path).path
    cut.write_bytes(CONTENT[:10])
    s3 = S3(other.environment(tmp_path))
    other.stop()
    found = s3_cache.stage(uri, tmp_path, s3, lambda done, total: None)
    assert found.path == path
    assert "may be old: the S3 server does not answer" in found.origin
    described = s3_cache.describe(uri, tmp_path, s3)
    assert described is not None
    assert described.size == len(CONTENT)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer for s3://recordings/lost"):
        s3_cache.stage(lost, tmp_path, s3, lambda done, total: None)
    with pytest.raises(Unreachable):
        s3_cache.describe(f"s3://{BUCKET}/never", tmp_path, s3)


def test_a_missing_object_is_not_found_even_if_a_copy_is_there(server: S3Server, tmp_path: Path) -> None:
    uri = server.put("removed", CONTENT)
    stage(server, uri, tmp_path)
    server.client.delete_object(Bucket=BUCKET, Key="removed")
    with pytest.raises(NotFound, match="s3://recordings/removed"):
        stage(server, uri, tmp_path)


def test_a_cache_that_cannot_be_written_is_named(server: S3Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match=r"file/cache cannot be written") as caught:
        stage(server, server.put("a", CONTENT), tmp_path / "file" / "cache")
    assert "TAO_SKILL_CACHE" in caught.value.fix


@pytest.mark.parametrize(
    ("changes", "signed_with"),
    [
        ({}, ACCESS_KEY),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "ACCESS_KEY": "OLD", "SECRET_KEY": "old"}, "OLD"),
        ({"ACCESS_KEY": "OLD", "SECRET_KEY": "old"}, ACCESS_KEY),
    ],
    ids=["present names", "older names", "both"],
)
def test_access_comes_from_the_environment(
    server: S3Server, tmp_path: Path, changes: dict[str, str | None], signed_with: str
) -> None:
    uri = server.put("a", CONTENT)
    server.forget()
    assert stage(server, uri, tmp_path, **changes).path.read_bytes() == CONTENT
    assert server.signed_with == {signed_with}


def test_the_session_token_the_region_and_the_profile_reach_the_server(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = LAB\naws_secret_access_key = lab\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    uri = server.put("a", CONTENT)
    server.forget()
    none = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    stage(server, uri, tmp_path, **none, AWS_PROFILE="lab", ACCESS_KEY="OLD", SECRET_KEY="old")
    assert server.signed_with == {"LAB"}
    arguments = _access({"AWS_ACCESS_KEY_ID": "a", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "eu-north-1"})
    assert (arguments["token"], arguments["client_kwargs"]) == ("t", {"region_name": "eu-north-1"})


def test_without_credentials_or_rights_the_fix_names_the_variables(server: S3Server, tmp_path: Path) -> None:
    uri = server.put("a", CONTENT)
    with pytest.raises(MissingDependency, match="needs S3 credentials") as caught:
        stage(server, uri, tmp_path, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert "AWS_ACCESS_KEY_ID" in caught.value.fix
    server.refuse = {"HEAD"}
    with pytest.raises(BadRequest, match="denies access to s3://recordings/a") as refused:
        stage(server, uri, tmp_path)
    assert refused.value.code == "access_refused"
    assert "AWS_ACCESS_KEY_ID" in refused.value.fix


def test_credentials_in_an_endpoint_are_in_no_error_and_no_name(server: S3Server, tmp_path: Path) -> None:
    within = f"http://user:{SECRET_KEY}@127.0.0.1:1"
    s3 = S3(server.environment(tmp_path, AWS_ENDPOINT_URL=within, AWS_MAX_ATTEMPTS="1"))
    assert s3.endpoint == "http://127.0.0.1:1"
    for endpoint in (within, f"user:{SECRET_KEY}@nowhere"):
        with pytest.raises((BadRequest, Unreachable)) as caught:
            stage(server, f"s3://{BUCKET}/a", tmp_path, AWS_ENDPOINT_URL=endpoint)
        assert SECRET_KEY not in str(caught.value.as_dict())
    assert credentials({"AWS_ENDPOINT_URL": "http://user:hunter2@host"}) == ["user:hunter2"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://AKIAKEY:hunter2hunter2@bucket/key", "contains credentials"),
        ("s3://hunter2hunter2@bucket/key", "contains credentials"),
        ("gs://bucket/hunter2", "^gs:// URLs are not supported"),
        ("https://host/key?X-Amz-Signature=hunter2", "^https:// URLs are not supported"),
        ("s3:///hunter2", "no bucket"),
    ],
)
def test_other_addresses_are_refused_without_being_shown(address: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        check_address(address)
    assert "hunter2" not in str(caught.value.as_dict())


def test_the_missing_extra_is_named(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependency) as caught:
        S3(server.environment(tmp_path)).describe("s3://bucket/key")
    assert caught.value.fix == "pip install 'tao-skill[s3]'"


def test_a_hostile_name_stays_inside_the_cache(server: S3Server, tmp_path: Path) -> None:
    for key in ("a/..%2f..%2fout", "x" * 300 + ".npy", ".hidden"):
        path = stage(server, server.put(key, CONTENT), tmp_path).path
        assert path.is_relative_to(tmp_path)
        assert path.read_bytes() == CONTENT
        assert path.suffix == Path(key).suffix or not path.name.startswith(".")


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert s3_cache.cache_root({"TAO_SKILL_CACHE": str(tmp_path)}) == tmp_path
    assert s3_cache.cache_root({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "tao-skill"
    assert s3_cache.cache_root({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "tao-skill"
