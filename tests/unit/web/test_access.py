"""Who may call what: keys and roles, hosts and origins, bounds; and what the access log holds."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from config.http_settings import HttpKey, HttpSettings
from tests.unit.web.web_tools import KEY, WATCHER, WRITER, At, serving
from web import access_log, bodies
from web.access_log import AccessLog
from web.keys import KeyFileError, Keyring, Role, derived, drawn_key, keyring


def test_each_role_may_do_what_those_before_it_may(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        create, backup, join = {"context": "c"}, {"file": str(tmp_path / "b")}, {"change": "add", "node": 4}
        quota = {"quota": "turns", "most": 5}
        for key, allowed in ((None, 0), ("wrong" * 9, 0), (WATCHER, 1), (WRITER, 2), (KEY, 3)):
            answers = [
                await at.get("/api/viewall", key), await at.post("/api/create", create, key),
                await at.post("/api/backup", backup, key), await at.post("/api/members", join, key),
                await at.post("/api/quotas", quota, key),
            ]
            fine = [answer.status_code in (200, 409) for answer in answers]
            assert fine == [allowed >= 1, allowed >= 2, allowed >= 3, allowed >= 3, allowed >= 3], (key, answers)
            for refused in (answer for answer in answers if answer.status_code in (401, 403)):
                assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
        assert (await at.get("/healthz", None)).status_code == 200, "without a key"
        assert (await at.get("/metrics", None)).status_code == 401
        assert "run.sh key" in (await at.get("/api/viewall", None)).json()["error"]["message"]

    serving(tmp_path, scenario)


def test_pages_and_names_from_elsewhere_are_refused(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        own = f"http://127.0.0.1:{at.client.base_url.port}"
        network, nobody = (f"http://127.0.0.1:{(at.client.base_url.port or 0) + more}" for more in (-2, 40))
        for host, status in (
            ("localhost", 200), ("127.0.0.1:1", 200), ("[::1]", 200), ("node.example", 200), ("evil.example", 403),
            ("127.0.0.1.evil.example", 403), ("", 403), ("user@evil.example", 403),
            ("[::1", 403), ("[", 403),
        ):
            assert (await at.get("/healthz", Host=host)).status_code == status, host
        for origin, status in (
            (own, 200), (network, 200), ("http://localhost:9", 403), ("http://evil.example", 403), ("null", 403),
            ("http://127.0.0.1:9", 403), ("http://127.0.0.1:x", 403), (nobody, 403),
        ):
            answer = await at.get("/healthz", Origin=origin)
            assert answer.status_code == status, origin
            assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
        six = f"[::1]:{at.client.base_url.port}"
        for origin, status in ((f"http://{six}", 200), ("http://[::1]:9", 403), (own, 403)):
            assert (await at.get("/healthz", Host=six, Origin=origin)).status_code == status, origin
        ports = {at.client.base_url.port} - {None}
        for host, allowed in ((six, "*"), ("[::1]", "*"), ("127.0.0.1", "127.0.0.1"), ("localhost:1", "localhost")):
            policy = (await at.get("/", None, Host=host)).headers["Content-Security-Policy"]
            assert all(f" {allowed}:{port}" in policy for port in ports) and "::" not in policy, policy
        before = await at.call("OPTIONS", "/api/create", key=None, Origin=network)
        assert before.status_code == 204 and "authorization" in before.headers["Access-Control-Allow-Headers"]

    serving(tmp_path, scenario, names=("node.example",))


def test_bodies_are_bounded_and_bad_ones_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(at: At) -> None:
        async def sent(content: bytes, **headers: str) -> tuple[int, str]:
            headers["Authorization"] = f"Bearer {KEY}"
            answer = await at.client.post("/api/create", content=content, headers=headers)
            error = answer.json()["error"]
            return answer.status_code, error if isinstance(error, str) else error["message"]

        assert (await sent(b"x" * 2000))[0] == 413
        lone = b'{"context":"\\ud800"}'
        for content in (b"{", b"[]", b'{"context": 5}', b'{"contest": "c"}', b'"\xff"', b"[" * 900, lone):
            status, words = await sent(content)
            assert status == 400 and words, content
        monkeypatch.setattr(bodies, "MAX_TOGETHER", 10)
        assert (await sent(b'{"context": "c1"}'))[0] == 503
        assert not at.node.engine.store.conversations

    monkeypatch.setattr(bodies, "MAX_BODY", 1000)
    serving(tmp_path, scenario)


def test_the_log_says_what_was_called_and_nothing_of_what_was_said(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        await at.post("/api/create", {"context": "private-id"})
        await at.get("/api/view?context=private-id")
        await at.get("/private-path?key=private", "private-key-of-somebody")

    serving(tmp_path, scenario)
    log = (tmp_path / "http-2.log").read_text()
    assert "POST /api/create 200 operate" in log and "GET /api/view 200" in log and "(nothing) 401 -" in log
    assert "private" not in log and KEY not in log


def test_the_log_is_bounded_on_disk_and_while_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, begun, goes_on = tmp_path / "log", threading.Event(), threading.Event()

    async def scenario() -> None:
        log = AccessLog(path)
        monkeypatch.setattr(access_log, "_LOG_BYTES", 100)
        monkeypatch.setattr(access_log, "_WRITE_AFTER_S", 0.001)
        append = log._append

        def slow(lines: list[tuple[float, str]]) -> None:
            begun.set()
            goes_on.wait(10)
            append(lines)

        monkeypatch.setattr(log, "_append", slow)
        log.add("first " + "x" * 100)
        await asyncio.to_thread(begun.wait, 10)
        monkeypatch.setattr(access_log, "_MOST_LINES", 2)
        for word in ("second", "third", "one too many"):
            log.add(word)
        goes_on.set()
        await log.close()
        log.add("late")

    asyncio.run(scenario())
    assert "first" in path.with_suffix(".1").read_text()
    assert [line.split(" ", 2)[2] for line in path.read_text().splitlines()] == ["second", "third"]


def test_a_key_is_drawn_once_and_gives_lesser_ones(tmp_path: Path) -> None:
    key = drawn_key(tmp_path / "data")
    path = tmp_path / "data" / "http.key"
    assert drawn_key(tmp_path / "data") == key and path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["http.key"]
    ring = keyring(HttpSettings(), tmp_path / "data")
    assert [ring.role_of(derived(key, role)) for role in Role] == list(Role)
    assert ring.role_of("") is None and ring.role_of(key + "x") is None and ring.role_of("\udc80") is None
    watching = Keyring([HttpKey(WATCHER, "read")])
    assert watching.role_of(WATCHER) is Role.READ
    assert watching.role_of(derived(WATCHER, Role.WRITE)) is None, "no key gives more than it has"
    path.write_text("")
    with pytest.raises(KeyFileError, match="delete it"):
        drawn_key(tmp_path / "data")


@pytest.mark.parametrize("what", ["readable", "writable", "link", "pipe", "foreign"])
def test_a_key_file_that_is_not_this_users_alone_gives_no_key(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "http.key"
    drawn_key(tmp_path)
    if what == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("elsewhere")
    elif what == "pipe":
        path.unlink()
        os.mkfifo(path, 0o600)
    elif what == "foreign":
        os.chown(path, os.getuid() or 77, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 78)
    else:
        path.chmod(0o640 if what == "readable" else 0o602)
    with pytest.raises(KeyFileError, match=r"chmod 600|cannot be used"):
        drawn_key(tmp_path)


def test_a_connection_without_a_request_is_closed_and_one_too_many_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(at: At) -> None:
        port = at.client.base_url.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        _, closing = await asyncio.open_connection("127.0.0.1", port)
        third, _ = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: loc")
        assert (await third.read()).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(ConnectionError):
            assert await reader.read() == b""
            writer.write(b"x")
            raise ConnectionResetError
        closing.close()
        assert (await at.get("/healthz", None)).status_code == 200

    monkeypatch.setattr("web.listener.FIRST_REQUEST_WITHIN_S", 2.0)
    monkeypatch.setattr("web.listener.MAX_CONNECTIONS", 2)
    serving(tmp_path, scenario)
