"""The OpenAPI document: kept in the repository, so that a change shows in review."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.formats import FORMATS, OUTPUT_FORMATS
from app.main import create_app
from app.settings import Settings
from tests.fakes import FakeModel, worker

SNAPSHOT = Path(__file__).parent / "openapi.json"
REWRITE = "python -m tests.api.test_openapi"


def document() -> dict[str, Any]:
    return create_app(Settings(), [worker(FakeModel)]).openapi()


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


@pytest.fixture(scope="module")
def paths() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document()["paths"]
    return found


def test_the_document_equals_the_reviewed_snapshot() -> None:
    assert json.loads(SNAPSHOT.read_text()) == document(), f"rewrite it with: {REWRITE}"


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("post", "/upscale", "200 202 400 401 403 406 408 413 415 421 422 429 431 500 503 504"),
        ("get", "/upscale", "200 206 304 400 401 404 409 412 416 421 422 429 431 500 503"),
        ("delete", "/upscale", "204 400 401 404 421 422 431 500 503"),
        ("get", "/jobs/{job_id}", "200 401 404 421 422 429 431 500 503"),
        ("get", "/jobs/{job_id}/events", "200 204 401 404 421 422 429 431 500 503"),
        ("delete", "/jobs/{job_id}", "204 401 404 421 422 431 500 503"),
        ("get", "/model", "200 421 431 500 503"),
        ("post", "/admin/reload", "200 401 403 409 421 431 500 503"),
        ("get", "/healthz", "200 421 431 500 503"),
        ("get", "/readyz", "200 421 431 500 503"),
        ("get", "/metrics", "200 421 431 500"),
    ],
)
def test_every_status_is_documented(paths: dict[str, Any], method: str, path: str, statuses: str) -> None:
    assert " ".join(paths[path][method]["responses"]) == statuses


def test_parameters_with_several_types_have_no_default(paths: dict[str, Any]) -> None:
    """With clean=auto as the default, OpenAPI Generator generates Go code that does not compile."""
    parameters = paths["/upscale"]["post"]["parameters"]
    several = {each["name"]: each["schema"] for each in parameters if "anyOf" in each["schema"]}
    assert set(several) == {"clean", "quality"}
    assert all("default" not in schema for schema in several.values())


def test_picture_bodies_are_binary(paths: dict[str, Any]) -> None:
    body = paths["/upscale"]["post"]["requestBody"]
    binary = {"type": "string", "format": "binary"}
    assert body["required"] is True
    assert list(body["content"]) == ["multipart/form-data"], "generated clients take one kind of body alone"
    assert body["content"]["multipart/form-data"]["schema"]["properties"] == {"image": binary}
    named = body["content"]["multipart/form-data"]["encoding"]["image"]["contentType"].split(", ")
    assert set(named) <= {row.media_type for row in FORMATS}
    for method in ("post", "get"):
        content = paths["/upscale"][method]["responses"]["200"]["content"]
        assert content == {row.media_type: {"schema": binary} for row in OUTPUT_FORMATS.values()}


def test_every_problem_is_a_problem_document_with_an_example(paths: dict[str, Any]) -> None:
    for operations in paths.values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if "application/problem+json" in response.get("content", {}):
                    content = response["content"]["application/problem+json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
                    for name, example in content["examples"].items():
                        assert example["value"]["type"] == f"urn:lapsrn:problem:{name}"
                        assert str(example["value"]["status"]) == status
                    assert ("Retry-After" in response["headers"]) is (status in ("429", "503"))


def test_operations_have_short_unique_names(paths: dict[str, Any]) -> None:
    names = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and "_" not in name for name in names)


if __name__ == "__main__":
    SNAPSHOT.write_text(text())
