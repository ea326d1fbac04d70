"""Who may call a server, and from where."""

import subprocess
import sys

import pytest

from upscore.errors import ArgumentError
from upscore.serving.settings import Settings

TOKEN = "correct-horse-battery-staple"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_other_addresses_need_a_token(host):
    with pytest.raises(ArgumentError, match="UPSCORE_TOKEN"):
        Settings(host=host)
    assert not Settings(host=host, token=TOKEN).local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert Settings(host=host).local


def test_a_short_token_is_refused():
    with pytest.raises(ArgumentError, match="16 characters"):
        Settings(token="secret")


def test_the_command_says_that_a_token_is_needed(tmp_path):
    command = [sys.executable, "-m", "upscore", "serve", "--host", "0.0.0.0"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert run.returncode == 1
    assert "UPSCORE_TOKEN" in run.stderr


def test_a_taken_port_is_said(tmp_path, server):
    command = [sys.executable, "-m", "upscore", "serve", "--port", str(server.port)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert run.returncode == 1
    assert "--port 0" in run.stderr


def test_with_a_token_only_the_page_is_open(serve, photos):
    server = serve("--host", "0.0.0.0", UPSCORE_TOKEN=TOKEN)
    client = server.client
    for path in ("/", "/docs", "/page/docs.js", "/healthz", "/readyz"):
        assert client.get(path).status_code == 200
    for path in ("/v1/models", "/v1/model", "/v1/corrections", "/v1/tuning", "/metrics"):
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    given = {"authorization": f"Bearer {TOKEN}"}
    assert client.post("/v1/segment", content=photos["cat"]).status_code == 401
    right = client.post("/v1/segment", content=photos["cat"], headers=given)
    assert right.status_code == 200
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xfc"):
        answer = client.get("/v1/models", headers={"authorization": wrong.encode("latin-1")})
        assert answer.status_code == 401
    # Corrections are not kept where others can reach the server, unless a folder is named.
    assert client.get("/v1/corrections", headers=given).json()["folder"] is None
    server.stop()
    assert TOKEN not in server.log


def test_pages_of_other_sites_are_refused(server, serve, photos):
    other = {"origin": "https://evil.example"}
    refused = server.client.post("/v1/segment", content=photos["cat"], headers=other)
    assert refused.status_code == 403
    own = server.client.get("/v1/models", headers={"origin": server.url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    named = serve("--origin", "https://good.example")
    good = {"origin": "https://good.example"}
    answer = named.client.get("/v1/models", headers=good)
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    asked = good | {"access-control-request-method": "POST"}
    assert named.client.options("/v1/segment", headers=asked).status_code == 200
    assert named.client.get("/v1/models", headers=other).status_code == 403


def test_names_that_mean_this_machine_for_others_are_refused(server):
    """A page elsewhere whose own name leads here (DNS rebinding) is of the same origin."""
    rebound = {
        "host": f"evil.example:{server.port}",
        "origin": f"http://evil.example:{server.port}",
    }
    assert server.client.get("/v1/models", headers=rebound).status_code == 421
    for host in (f"localhost:{server.port}", "127.0.0.1"):
        assert server.client.get("/v1/models", headers={"host": host}).status_code == 200


def test_logs_hold_nothing_of_a_request(serve, photos):
    server = serve()
    server.client.post("/v1/segment?model=secret-name", content=photos["cat"])
    server.client.get("/secret-path")
    server.client.post("/v1/segment", files={"photo": ("secret-file.jpg", photos["cat"])})
    server.stop()
    logged = server.log
    assert "POST /v1/segment 200" in logged
    assert "secret" not in logged
