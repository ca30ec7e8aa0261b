"""Who is answered, and with which headers."""

from __future__ import annotations

import http.client
from contextlib import suppress
from urllib.parse import quote

import pytest

from pipeline.errors import ConfigurationError
from pipeline.viewer.guard import allowed_hosts
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.view import check_options
from tests.support.outputs import write_output
from tests.support.viewers import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    output = write_output(tmp_path_factory.mktemp("guard") / "out", range(4), ["a", "b"])
    with served(output.url) as running:
        yield running


def test_the_token_becomes_a_cookie_that_scripts_cannot_read_and_leaves_the_address(server: Served):
    token = server.address.partition("?")[2]
    entered = server.ask(f"/?{token}", Cookie="")
    assert (entered.status, entered.headers["Location"]) == (303, "/")
    assert "HttpOnly" in entered.headers["Set-Cookie"]
    assert "SameSite=Strict" in entered.headers["Set-Cookie"]
    assert server.server.guard.token not in entered.headers["Set-Cookie"]
    assert server.ask("/").status == 200


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/api/sweep", "GET", {"Cookie": ""}, 401),
        ("/api/sweep", "GET", {"Cookie": "circuit-sweep-1=x"}, 401),
        ("/", "GET", {"Cookie": ""}, 401),
        ("/?token=wrong", "GET", {"Cookie": ""}, 401),
        ("/?token=%F0%9F%98%80", "GET", {"Cookie": ""}, 401),
        ("/api/sweep", "GET", {"Host": "evil.example"}, 421),
        ("/api/sweep", "GET", {"Host": "evil.example:80"}, 421),
        ("/api/refresh", "POST", {"Origin": "http://evil.example"}, 403),
        ("/api/refresh", "POST", {"Origin": ""}, 403),
        ("/api/refresh", "POST", {"Origin": "null"}, 403),
        ("/api/refresh", "POST", {"Content_Type": "text/plain"}, 415),
        ("/api/refresh", "POST", {"Sec_Fetch_Site": "same-site"}, 403),
        ("/api/sweep", "GET", {"Sec_Fetch_Site": "same-site"}, 403),
        ("/page/app.js", "GET", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("/api/prompts?limit=" + "9" * 5000, "GET", {}, 400),
        ("/api/feature/" + "1" * 5000 + "/3", "GET", {}, 400),
        ("/api/prompts?where=pg_sleep(9)%20is%20null", "GET", {}, 400),
        ("/api/prompts?where=exists(from%20glob('/etc/*'))", "GET", {}, 400),
        ("/api/refresh", "GET", {}, 405),
        ("/api/refresh", "PUT", {}, 405),
        ("/page/%2e%2e/server.py", "GET", {}, 404),
        ("/page/../server.py", "GET", {}, 404),
        ("/page//etc/passwd", "GET", {}, 404),
        ("/page/..%5cserver.py", "GET", {}, 404),
        ("/nothing", "GET", {}, 404),
    ],
)
def test_what_may_not_come_in_is_refused_by_name(server: Served, path, method, headers, status):
    refused = server.ask(path, method, b"{}" if method != "GET" else None, **headers)
    assert refused.status == status
    assert refused.json["error"]["message"]
    assert server.ask("/api/sweep").status == 200


def test_the_address_that_opens_the_browser_serves_once(server: Served):
    path = f"/?{server.server.address_for_browser().partition('?')[2]}"
    assert server.server.guard.token not in path
    assert server.ask(path, Cookie="", Host="evil.example").status == 421
    assert server.ask(path, Cookie="").status == 303
    assert server.ask(path, Cookie="").status == 401
    assert server.ask(f"/?{server.address.partition('?')[2]}", Cookie="").status == 303


def test_what_takes_too_long_is_ended_whatever_asks_it(server: Served, monkeypatch):
    monkeypatch.setattr("pipeline.viewer.server.ANSWER_SECONDS", 0.5)
    slow = "(select count(*) from range(100000000) a, range(100000) b) > 0"
    ended = server.ask(f"/api/prompts?where={quote(slow)}")
    assert ended.status == 408
    assert "longer than" in ended.json["error"]["message"]
    assert server.ask("/api/sweep").status == 200


def test_queries_write_no_file_anywhere(server: Served):
    settings = "select current_setting('temp_directory') as t, current_setting('enable_external_access') as e"
    assert server.ask("/api/sql", "POST", {"sql": settings}).json["rows"] == [["", False]]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"host": "0.0.0.0"}, "every address of this machine"),
        ({"host": ""}, "every address of this machine"),
        ({"embed_from": "*"}, "is no origin"),
        ({"embed_from": "http://a.example; script-src *"}, "is no origin"),
        ({"embed_from": "http://a.example/path"}, "is no origin"),
    ],
)
def test_addresses_and_origins_that_no_browser_could_use_are_refused(options, named):
    with pytest.raises(ConfigurationError, match=named):
        check_options(ViewOptions(**options))
    check_options(ViewOptions(embed_from="http://[::1]:8888"))


def test_a_large_body_is_refused_and_the_server_lives(server: Served):
    with suppress(ConnectionError, http.client.HTTPException):  # it may stop listening before all was sent
        assert server.ask("/api/refresh", "POST", b'"' + b"x" * (2 << 20) + b'"').status == 413
    assert server.ask("/api/sweep").status == 200


def test_every_answer_allows_nothing_but_the_page_itself(server: Served):
    for path in ("/", "/api/sweep", "/api/nothing", "/page/index.html"):
        headers = server.ask(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_only_this_machine_is_listened_to(server: Served):
    assert server.server.runner.addresses[0][0] == "127.0.0.1"
    assert allowed_hosts("127.0.0.1", 8000) == {"127.0.0.1:8000", "localhost:8000", "[::1]:8000"}
    assert allowed_hosts("box.example", 8000) == {"box.example:8000"}
