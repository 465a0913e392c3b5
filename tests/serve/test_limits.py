"""What a stranger may do, and what he may not; what becomes of requests when clients, workers and the server end."""

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sottovoce.serve.connections import HOLD_S
from tests.support.hostile_audio import FLAC_BLOCK, FLAC_BOMB_FRAMES, flac_bomb
from tests.support.server import RunningServer, encoded, running_server, wav
from tests.support.tones import tone

PATH = "/v1/audio/transcriptions"
FIELDS = {"language": "en", "vad_filter": "false", "temperature": "1"}
LONG_S = 240.0


def post(server: RunningServer, content: bytes, **options: Any) -> httpx.Response:
    return httpx.post(
        f"{server.url}{PATH}",
        data=FIELDS,
        files={"file": ("a.wav", content, "audio/wav")},
        timeout=120,
        **options,
    )


def metric(server: RunningServer, name: str, **options: Any) -> float:
    text = httpx.get(f"{server.url}/metrics", **options).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def wait_for(condition: Any, timeout_s: float = 20.0) -> bool:
    end_s = time.monotonic() + timeout_s
    while not (found := condition()) and time.monotonic() < end_s:
        time.sleep(0.05)
    return bool(found)


def test_answers_do_not_wait_for_the_system_to_acknowledge_their_heads(server: RunningServer) -> None:
    """A system that sends small pieces together (Nagle) holds the body back for 40 ms."""
    seconds = []
    with httpx.Client(timeout=30) as client:
        for _ in range(30):
            started = time.perf_counter()
            client.get(f"{server.url}/v1/models").raise_for_status()
            seconds.append(time.perf_counter() - started)
    assert statistics.median(seconds) < 0.03


def test_metrics_count_what_was_done(server: RunningServer) -> None:
    before = metric(server, "sottovoce_audio_seconds_total")
    assert post(server, wav(3.0)).status_code == 200
    assert metric(server, "sottovoce_audio_seconds_total") == pytest.approx(before + 3.0, abs=0.1)
    assert metric(server, "sottovoce_queue_length") == 0
    assert metric(server, "sottovoce_queue_seconds_count") >= 1
    assert metric(server, "sottovoce_requests_total") >= 1


def test_a_client_that_goes_away_frees_the_worker(server: RunningServer) -> None:
    cancelled = metric(server, "sottovoce_cancelled_total")

    async def leave() -> None:
        async with httpx.AsyncClient() as client:
            request = client.post(
                f"{server.url}{PATH}", data=FIELDS, files={"file": ("a.wav", wav(LONG_S), "audio/wav")}
            )
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(request, 1.5)

    asyncio.run(leave())
    assert wait_for(lambda: metric(server, "sottovoce_queue_length") == 0, 5.0)
    assert metric(server, "sottovoce_cancelled_total") == cancelled + 1
    assert post(server, wav()).json()["text"]


def test_a_worker_that_is_killed_costs_no_request(server: RunningServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(post, server, wav(duration_s)) for duration_s in (LONG_S, 2.0, 3.0)]
        assert wait_for(lambda: metric(server, "sottovoce_backlog_audio_seconds") > 0)
        (worker,) = server.workers
        os.kill(worker, signal.SIGKILL)
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert server.workers != [worker]


def test_files_of_uploads_have_no_names(server: RunningServer) -> None:
    """So that none is left, however the server ends."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, server, wav(LONG_S))
        assert wait_for(lambda: metric(server, "sottovoce_queue_length") == 1)
        links = [
            str(link.readlink())
            for link in Path(f"/proc/{server.process.pid}/fd").iterdir()
            if link.is_symlink()
        ]
        answer.result()
    assert any(name.endswith("(deleted)") for name in links)


@pytest.fixture(scope="module")
def strict(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("strict")
    keys = folder / "keys"
    keys.write_text("# of the test\nfirst-key-1\nsecond-key-2\n")
    options = (
        "--api-key-file",
        str(keys),
        "--max-upload-mb",
        "1",
        "--max-hours",
        "0.01",
        "--queue-hours",
        "0.008",
    )
    with running_server(served, folder, options) as running:
        yield running


KEY = {"Authorization": "Bearer second-key-2"}


@pytest.mark.parametrize("given", ["", "Bearer wrong-key-3", "Basic second-key-2", "Bearer second-key-22"])
def test_a_wrong_key_is_refused(strict: RunningServer, given: str) -> None:
    answer = post(strict, wav(), headers={"Authorization": given} if given else {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert httpx.get(f"{strict.url}/metrics", headers={"Authorization": given}).status_code == 401


def test_a_key_opens_and_the_page_and_probes_need_none(strict: RunningServer) -> None:
    assert post(strict, wav(), headers=KEY).status_code == 200
    for path in ("/", "/healthz", "/readyz"):
        assert httpx.get(f"{strict.url}{path}").status_code == 200


def test_a_large_upload_is_refused_before_it_is_sent(strict: RunningServer) -> None:
    answer = post(strict, wav(240.0), headers=KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")


def test_the_log_says_when_a_refusal_was_answered(strict: RunningServer) -> None:
    """Not when the server had dropped what a client sent in vain."""
    answer = post(strict, wav(240.0), headers={**KEY, "X-Request-ID": "refused"})
    log = strict.wait_for_log('"request_id": "refused"')
    assert answer.status_code == 413
    (record,) = [json.loads(line) for line in log.splitlines() if '"request_id": "refused"' in line]
    assert record["seconds"] < HOLD_S / 2


def test_a_large_upload_of_unknown_size_is_refused_while_it_is_sent(strict: RunningServer) -> None:
    def body() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(100):
            yield bytes(100_000)

    answer = httpx.post(
        f"{strict.url}{PATH}",
        content=body(),
        headers={**KEY, "Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 413


def test_long_audio_is_refused(strict: RunningServer) -> None:
    answer = httpx.post(
        f"{strict.url}{PATH}",
        files={"file": ("a.mp3", encoded(tone(60.0), "MP3"), "audio/mpeg")},
        headers=KEY,
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    assert "is longer than 36 s" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav(2.0)[:-20_000], "can be decoded; get a whole copy of it"),
        (flac_bomb(n_samples=FLAC_BOMB_FRAMES * FLAC_BLOCK), "which cannot be speech; cut it into pieces"),
    ],
)
def test_the_advice_of_a_refusal_can_be_followed_by_a_client(
    server: RunningServer, content: bytes, message: str
) -> None:
    """The command line's options are not the client's."""
    error = post(server, content).json()["error"]
    assert error["code"] == "invalid_audio"
    assert error["message"].endswith(message)


def test_a_client_that_sends_slowly_reads_why_it_is_refused(server: RunningServer) -> None:
    """A connection that is closed while the client still sends loses the answer."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(head.encode())
        for _ in range(5):
            time.sleep(0.4)
            connection.sendall(bytes(1000))
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400")


def test_many_fields_and_long_ones_are_refused(strict: RunningServer) -> None:
    files = {"file": ("a.wav", wav(), "audio/wav")}
    for data in ({f"field{number}": "x" for number in range(10_000)}, {"prompt": "x" * 100_000}):
        answer = httpx.post(f"{strict.url}{PATH}", data=data, files=files, headers=KEY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_form")


def test_a_full_server_says_when_to_come_back(strict: RunningServer) -> None:
    """28.8 s are let in while others are worked on."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(strict, wav(29.0), headers=KEY), range(8)))
    assert {answer.status_code for answer in answers} == {200, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(1 <= int(answer.headers["Retry-After"]) <= 120 for answer in refused)
    assert {answer.json()["error"]["code"] for answer in refused} == {"overloaded"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:8000"}, 200),
    ],
)
def test_pages_of_others_may_not_use_the_server(
    server: RunningServer, headers: dict[str, str], status: int
) -> None:
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == status


def test_its_own_page_may(server: RunningServer) -> None:
    assert httpx.get(f"{server.url}/v1/models", headers={"Origin": server.url}).status_code == 200


def test_answers_are_kept_by_no_cache_and_sniffed_by_no_browser(server: RunningServer) -> None:
    headers = post(server, wav()).headers
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    policy = httpx.get(server.url).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path", ["/page/../files.py", "/page/%2e%2e/files.py", "/page//etc/passwd", "/page/nix"]
)
def test_only_files_of_the_page_are_given(server: RunningServer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 404"


def test_sigterm_finishes_what_was_begun_and_refuses_the_rest(served: Path, tmp_path: Path) -> None:
    with running_server(served, tmp_path) as own, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, own, wav(LONG_S))
        assert wait_for(lambda: metric(own, "sottovoce_queue_length") == 1)
        own.process.send_signal(signal.SIGTERM)
        assert wait_for(lambda: httpx.get(f"{own.url}/readyz").status_code == 503, 5.0)
        refused = post(own, wav())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert answer.result().status_code == 200
        assert own.process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("--host", "0.0.0.0"),  # noqa: S104 - it is refused
            2,
            "give --api-key-file, or --insecure",
        ),
        (("--api-key-file", "/nowhere"), 1, "--api-key-file /nowhere cannot be read"),
        (("--port", "99999"), 2, "--port"),
    ],
)
def test_a_server_that_may_not_start_says_why(
    served: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce", "serve", str(served), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_named(served: Path, server: RunningServer) -> None:
    port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce", "serve", str(served), "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"--port {port}" in done.stderr
