"""GET /readyz: what keeps new work away, and what only degrades the service."""

import functools
from pathlib import Path

import pytest

from app.codec.decoder_pool import DecoderPool
from tests import pictures
from tests.conftest import Running, service_of, until

FILES = {"image": pictures.png(pictures.gray())}


@pytest.mark.slow
async def test_decoders_that_do_not_start_keep_work_away(
    serve: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every picture would be refused, and a load balancer would not notice."""
    missing = tmp_path / "missing"
    missing.touch()
    program = (
        f"import os; os.path.exists({str(missing)!r}) and sys.exit('no decoder'); "
        "from app.codec.decoder_process import main; main(int(sys.argv[2]), int(sys.argv[3]))"
    )
    monkeypatch.setattr("app.build.DecoderPool", functools.partial(DecoderPool, program=program))
    monkeypatch.setattr("app.service.service.CHECK_SECONDS", 0.01)
    async with serve(decode="process") as client:
        assert "lapsrn_decoder_up 0.0" in (await client.get("/metrics")).text
        refused = await client.post("/upscale", files=FILES)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:lapsrn:problem:decoders-unavailable"
        assert "retry-after" in refused.headers
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"status": "dead", "store": "ok", "decoders": "unavailable"}
        missing.unlink()
        await until(lambda: service_of(client).decoders == "ok")
        ready = await client.get("/readyz")
        assert ready.json() == {"status": "ready", "store": "ok", "decoders": "ok"}
        assert (await client.post("/upscale", files=FILES)).status_code == 200
        assert "lapsrn_decoder_up 1.0" in (await client.get("/metrics")).text


@pytest.mark.slow
async def test_it_is_not_ready_before_its_decoders_are(serve: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import time; time.sleep(600)"
    monkeypatch.setattr("app.build.DecoderPool", functools.partial(DecoderPool, program=program))
    async with serve(decode="process") as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"], ready.json()["decoders"]) == (503, "warming", "starting")
