"""Below a path prefix: behind a real nginx, Caddy or HAProxy that removes it, one that does not, and without any."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from lapsrn_client import Upscaler
from PIL import Image
from typer.testing import CliRunner

from app.cli.commands import app
from tests import pictures
from tests.conftest import Running
from tests.proxy import caddy, haproxy_to, nginx
from tests.service_process import fake_service

PNG = pictures.png(pictures.gray(5, 7))
ASYNC = {"prefer": "respond-async"}
_CADDY = """
  handle_path /sr/* {{
    request_body {{
      max_size 40MB
    }}
    reverse_proxy {address} {{
      transport http {{
        keepalive 4s
      }}
    }}
  }}
"""
"""As in docs/operations.md."""
_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module", params=["removed", "kept", "caddy", "haproxy"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """https://example.org/sr/, so to speak."""
    folder = tmp_path_factory.mktemp("prefix")
    with fake_service(folder, root_path="/sr") as service:
        if request.param == "caddy":
            with caddy(folder, _CADDY.format(address=service.url.removeprefix("http://"))) as proxy:
                yield f"{proxy}/sr"
            return
        if request.param == "haproxy":
            (backend,) = re.findall(r"```haproxy\n(.+?)```", _OPERATIONS.read_text(), re.DOTALL)
            address = service.url.removeprefix("http://")
            with haproxy_to(folder, backend.replace("127.0.0.1:8000", address)) as balancer:
                yield f"{balancer.url}/sr"
            return
        target = f"{service.url}/" if request.param == "removed" else service.url
        with nginx(folder, f"location /sr/ {{ proxy_pass {target}; }}") as proxy:
            yield f"{proxy}/sr"


def size(body: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(body)) as image:
        return image.height, image.width


@pytest.mark.server
def test_every_url_in_a_response_can_be_followed(url: str) -> None:
    with httpx.Client() as client:
        made = client.post(f"{url}/upscale", files={"image": PNG})
        assert size(client.get(made.url.join(made.headers["content-location"])).content) == (20, 28)
        (link,) = [part.split(">")[0].strip(" <") for part in made.headers["link"].split(",")]
        assert size(client.get(made.url.join(link)).content) == (10, 14)
        assert size(client.get(f"{url}/upscale?level=2").content) == (10, 14), "by the cookie"
        assert [cookie.path for cookie in client.cookies.jar] == ["/sr/upscale"]
        assert client.delete(f"{url}/upscale").status_code == 204
        assert not client.cookies


@pytest.mark.server
def test_a_job_can_be_followed(url: str) -> None:
    with httpx.Client() as client:
        job = client.post(f"{url}/upscale", files={"image": PNG}, headers=ASYNC)
        place = job.url.join(job.headers["location"])
        assert str(place).startswith(f"{url}/jobs/")
        events = client.get(f"{place}/events").text
        last = json.loads(events.strip().rsplit("data: ", 1)[1])
        document = client.get(place).json()
        assert last == document
        assert size(client.get(urljoin(str(place), document["results"]["2"])).content) == (10, 14)


@pytest.mark.server
def test_the_client_and_the_command_line_work_below_a_prefix(url: str, tmp_path: Path) -> None:
    with Upscaler(url) as upscaler:
        made = upscaler.upscale(PNG)
        assert made.url == f"{url}/upscale?level=4&id={made.id}"
        assert size(upscaler.level(made.id, 2).body) == (10, 14)
        assert size(upscaler.upscale(PNG, progress=lambda done, total: None).body) == (20, 28)
    (tmp_path / "a.png").write_bytes(PNG)
    arguments = ["upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--server", url]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert size((tmp_path / "b.png").read_bytes()) == (20, 28)


@pytest.mark.server
def test_the_page_its_files_and_the_api_documents_are_served_below_a_prefix(url: str) -> None:
    for path, kind in (("/", "text/html"), ("/static/js/main.js", "text/javascript"), ("/docs", "text/html")):
        answer = httpx.get(url + path)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert httpx.get(f"{url}/docs/swagger-ui.css").status_code == 200
    assert httpx.get(f"{url}/openapi.json").json()["servers"] == [{"url": "/sr"}]
    nothing = httpx.get(f"{url}/nothing")
    assert (nothing.status_code, nothing.json()["detail"]) == (404, "There is nothing at /sr/nothing. See /sr/docs.")


@pytest.mark.server
def test_the_client_works_without_a_prefix_setting_of_the_service(tmp_path: Path) -> None:
    """Whoever runs a proxy may not run the service."""
    with (
        fake_service(tmp_path) as service,
        nginx(tmp_path, f"location /sr/ {{ proxy_pass {service.url}/; }}") as proxy,
        Upscaler(f"{proxy}/sr") as upscaler,
    ):
        made = upscaler.upscale(PNG, progress=lambda done, total: None)
        assert size(made.body) == (20, 28)
        assert size(upscaler.level(made.id, 2).body) == (10, 14)


async def test_log_and_metrics_name_routes_without_the_prefix(serve: Running) -> None:
    async with serve(root_path="/sr") as client:
        for path in ("/sr/model", "/model", "/sr/static/js/main.js", "/sr/openapi.json", "/srmodel"):
            await client.get(path)
        metrics = (await client.get("/metrics")).text
        for route, status, count in (("/model", 2, 2), ("/static", 2, 1), ("/openapi.json", 2, 1), ("unmatched", 4, 1)):
            assert f'lapsrn_http_requests_total{{method="GET",route="{route}",status=' in metrics
            labels = f'method="GET",route="{route}",status="{status}xx"'
            assert f"lapsrn_http_request_duration_seconds_count{{{labels}}} {count}.0" in metrics


@pytest.mark.parametrize("prefix", ["", "/sr"])
async def test_a_trailing_slash_is_redirected_without_repeating_the_host_header(serve: Running, prefix: str) -> None:
    async with serve(root_path=prefix, allowed_hosts="*") as client:
        answer = await client.get(f"{prefix}/model/?x=1", headers={"host": "evil.example"})
        assert (answer.status_code, answer.headers["location"]) == (307, f"{prefix}/model?x=1")


@pytest.mark.parametrize("prefix", ["", "/sr"])
async def test_a_picture_posted_to_a_trailing_slash_is_not_redirected(serve: Running, prefix: str) -> None:
    """On a redirect, Node's fetch sends a form again with a boundary that differs from the one in its header."""
    async with serve(root_path=prefix) as client:
        made = await client.post(f"{prefix}/upscale/?scale=2", content=PNG)
        assert (made.status_code, made.headers["content-location"].partition("?")[0]) == (200, f"{prefix}/upscale")
        forgotten = await client.delete(f"{prefix}/upscale/?id={made.headers['x-upscale-id']}")
        assert forgotten.status_code == 204
        for path in ("/", "/model/", "/upscales/"):
            assert (await client.post(f"{prefix}{path}")).status_code in (404, 405)
        metrics = (await client.get(f"{prefix}/metrics")).text
        assert 'lapsrn_http_requests_total{method="POST",route="/upscale",status="200"}' in metrics
