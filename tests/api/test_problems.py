"""Errors as problem documents."""

import inspect
import os

import httpx
import pytest
from fastapi.staticfiles import StaticFiles

from app import errors
from app.api.problems import INTERNAL, INTERNAL_DETAIL, KINDS, kind_of, problem_of, problem_of_parameters
from tests import pictures
from tests.conftest import Running
from tests.fakes import FakeModel

PNG = pictures.png(pictures.gray())


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (errors.MalformedRequest("x"), 400, "malformed-request"),
        (errors.Unauthorized("x"), 401, "unauthorized"),
        (errors.Forbidden("x"), 403, "forbidden"),
        (errors.CrossSite("x"), 403, "cross-site"),
        (errors.NotFound("x"), 404, "not-found"),
        (errors.NotAcceptable("x"), 406, "not-acceptable"),
        (errors.SlowClient("x"), 408, "slow-client"),
        (errors.StartupError("x"), 409, "weights-refused"),
        (errors.TooManyBytes("x"), 413, "too-many-bytes"),
        (errors.TooManyPixels("x"), 413, "too-many-pixels"),
        (errors.UnsupportedFormat("x"), 415, "unsupported-format"),
        (errors.UnsupportedCoding("x"), 415, "unsupported-coding"),
        (errors.PreconditionFailed("x"), 412, "precondition-failed"),
        (errors.RangeNotSatisfiable("x", 5), 416, "range-not-satisfiable"),
        (errors.UndecodablePicture("x"), 422, "undecodable-picture"),
        (errors.BadParameter("x"), 422, "bad-parameter"),
        (errors.TooManyRequests("x", 1.0), 429, "too-many-requests"),
        (errors.UnknownHost("x"), 421, "unknown-host"),
        (errors.HeadersTooLarge("x"), 431, "headers-too-large"),
        (errors.InferenceFailed("x"), 500, "inference-failed"),
        (errors.QueueFull("x", 1.0), 503, "queue-full"),
        (errors.Draining("x"), 503, "draining"),
        (errors.WarmingUp("x"), 503, "warming-up"),
        (errors.StoreUnavailable("x"), 503, "store-unavailable"),
        (errors.DeadlineExceeded("x"), 504, "deadline-exceeded"),
    ],
)
def test_errors_have_a_status_and_a_type(error: errors.LapsrnError, status: int, slug: str) -> None:
    problem = problem_of(error)
    assert problem.document("r").model_dump(exclude_unset=True) == {
        "type": f"urn:lapsrn:problem:{slug}",
        "title": KINDS[type(error)].title,
        "status": status,
        "detail": "x",
        "request_id": "r",
    }


def test_a_not_ready_problem_names_its_job() -> None:
    problem = problem_of(errors.NotReady("x", "j"), prefix="/sr")
    assert problem.document("r").model_dump(exclude_unset=True) == {
        "type": "urn:lapsrn:problem:not-ready",
        "title": "Not ready yet",
        "status": 409,
        "detail": "x",
        "request_id": "r",
        "job": "/sr/jobs/j",
    }
    assert problem.headers == {"Link": '</sr/jobs/j>; rel="monitor"'}


def test_every_error_class_has_a_problem_kind() -> None:
    bases = {errors.LapsrnError, errors.ClientError, errors.ServerError}
    leaves = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)} - bases
    assert {kind for kind in leaves if issubclass(kind, errors.LapsrnError)} == set(KINDS)


def test_slugs_are_unique() -> None:
    assert len({kind.slug for kind in KINDS.values()}) == len(KINDS)


def test_a_subclass_has_the_kind_of_its_ancestor() -> None:
    class TooTall(errors.TooManyPixels):
        pass

    assert kind_of(TooTall("x")).slug == "too-many-pixels"


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (errors.QueueFull("x", 0.2), "1"),
        (errors.QueueFull("x", 7.1), "8"),
        (errors.TooManyRequests("x", 60.0), "60"),
        (errors.Draining("x"), "5"),
        (errors.StoreUnavailable("x"), "5"),
    ],
)
def test_429_and_503_have_a_retry_after(error: errors.LapsrnError, header: str) -> None:
    assert problem_of(error).headers["Retry-After"] == header


@pytest.mark.parametrize("error", [ValueError("secret path /etc"), errors.LapsrnError("odd"), MemoryError()])
def test_unexpected_errors_reveal_nothing(error: Exception) -> None:
    problem = problem_of(error)
    assert (problem.kind, problem.detail) == (INTERNAL, INTERNAL_DETAIL)


def test_invalid_parameters_are_named_without_repeating_their_values() -> None:
    problem = problem_of_parameters([{"loc": ("query", "scale"), "msg": "must be 2", "input": "<script>"}])
    assert problem.detail == "scale: must be 2"
    assert problem.document("r").parameters == [{"in": "query", "name": "scale", "message": "must be 2"}]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/upscale?level=3", "level: must be 2, 4 or 8"),
        ("/upscale", "level: is missing"),
        ("/upscale?level=2&levle=2", "levle: is not a parameter of this request; there are level and id"),
        ("/upscale?level=2&id=not~an~id", "id: may have letters, digits, hyphens and underscores only"),
        ("/upscale?level=2&id=", "id: must not be empty"),
        (f"/upscale?level=2&id={'a' * 65}", "id: may have at most 64 characters"),
        ("/upscale?level=2&level=4", "level: may be given only once"),
        ("/upscale?level=2&id=a&id=a", "id: may be given only once"),
        ("/jobs/a~b", "job_id: may have letters, digits, hyphens and underscores only"),
    ],
)
async def test_invalid_parameters_are_refused_in_plain_words(client: httpx.AsyncClient, path: str, detail: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


@pytest.mark.parametrize("path", ["/?a=1&a=2", "/metrics?name[]=a&name[]=b", "/healthz?a=1&a=2"])
async def test_routes_without_parameters_ignore_unknown_ones(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key", "Webhook-Url", "X-API-Key"])
async def test_a_single_valued_header_may_be_sent_only_once(client: httpx.AsyncClient, name: str) -> None:
    sent = [("Content-Type", "image/png"), (name, "image/png"), (name.lower(), "image/jpeg")]
    headers = sent if name != "Content-Type" else sent[1:]
    answer = await client.post("/upscale?scale=2", content=PNG, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (422, f"{name.lower()}: may be given only once")
    assert answer.json()["parameters"][0]["in"] == "header"


@pytest.mark.parametrize(("sent", "words"), [("x", "a whole number"), ("-1", "at least 0")])
async def test_invalid_headers_are_refused_in_plain_words(client: httpx.AsyncClient, sent: str, words: str) -> None:
    answer = await client.get("/jobs/a/events", headers={"last-event-id": sent})
    assert (answer.status_code, answer.json()["detail"]) == (422, f"last-event-id: must be {words}")


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nope", 404, "not-found"),
        ("GET", "/static/nope.js", 404, "not-found"),
        ("PUT", "/upscale", 405, "method-not-allowed"),
        ("POST", "/healthz", 405, "method-not-allowed"),
        ("GET", "/upscale", 422, "bad-parameter"),
        ("GET", "/upscale?level=2&id=not~an~id", 422, "bad-parameter"),
        ("GET", "/jobs/unknown", 404, "not-found"),
    ],
)
async def test_errors_of_the_framework_are_problem_documents(
    client: httpx.AsyncClient, method: str, path: str, status: int, slug: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:lapsrn:problem:{slug}"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_405_lists_every_allowed_method(client: httpx.AsyncClient) -> None:
    answer = await client.put("/upscale")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"
    assert (await client.put("/docs")).headers["allow"] == "GET, HEAD"
    assert (await client.head("/admin/reload")).headers["allow"] == "POST"


async def test_unexpected_errors_are_logged_in_full_and_answered_with_a_fixed_text(
    serve: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as client:

        def explode(accept: str, *, strict: bool) -> None:
            raise RuntimeError("the secret reason")

        monkeypatch.setattr("app.api.routes_upscale.acceptable_formats", explode)
        from structlog.testing import capture_logs

        with capture_logs() as logs:
            answer = await client.post("/upscale", files={"image": PNG})
    assert answer.status_code == 500
    assert answer.json()["detail"] == INTERNAL_DETAIL
    assert "secret" not in answer.text
    logged = [entry for entry in logs if entry["event"] == "unexpected error"]
    assert [entry["request_id"] for entry in logged] == [answer.headers["x-request-id"]]
    assert str(logged[0]["exc_info"]) == "the secret reason"


async def test_a_failing_network_is_500_and_the_service_goes_on(serve: Running) -> None:
    async with serve([lambda: FakeModel(error=RuntimeError("boom"))]) as client:
        for _ in range(2):
            answer = await client.post("/upscale", files={"image": PNG})
            assert answer.status_code == 500
            assert answer.json()["type"] == "urn:lapsrn:problem:inference-failed"
            assert "boom" not in answer.text


async def test_paths_with_thousands_of_folders_are_not_looked_up(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    lookup = StaticFiles.lookup_path

    def noted(files: StaticFiles, path: str) -> tuple[str, os.stat_result | None]:
        looked.append(path)
        return lookup(files, path)

    monkeypatch.setattr(StaticFiles, "lookup_path", noted)
    assert (await client.get(f"/static/{'a/' * 20_000}")).status_code == 404
    assert (await client.get("/static/js/main.js")).status_code == 200
    assert looked == ["js/main.js"]


async def test_a_request_with_many_faults_gets_a_short_response(client: httpx.AsyncClient) -> None:
    many = await client.post("/upscale?" + "&".join(f"a{number}=1" for number in range(3000)), content=b"x")
    assert many.status_code == 422
    assert [each["name"] for each in many.json()["parameters"]] == [f"a{number}" for number in range(10)]
    assert many.json()["detail"].endswith("; and 2990 more")
    long = await client.post(f"/upscale?{'a' * 50_000}=1", content=b"x")
    assert long.status_code == 422
    assert max(len(many.content), len(long.content)) < 8000
