"""The service as a deployment of Ray Serve: whole replicas of the application, no arrays between processes.

`serve run deploy.ray.serve_app:app`, or with serve.yaml beside this file. Settings are environment variables.
"""

import math
from typing import Any

from fastapi import FastAPI
from ray import serve

from app import logging
from app.main import create_app
from app.settings import load_settings

BACKLOG_SECONDS = 2.0
"""Of work for each replica: with more, there are too few of them."""


@serve.deployment(name="lapsrn")
@serve.ingress()
class Lapsrn:
    """One replica. It takes requests only once its network is warm."""

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application; its lifespan begins once it is warm."""
        settings = load_settings()
        logging.configure(settings.log_level, settings.log_format)
        self._app = create_app(settings)
        self._app.state.hold = True
        return self._app

    async def check_health(self) -> None:
        """Raises RuntimeError when the replica is to be replaced: no network, no worker or no decoder."""
        state = self._app.state.service.readiness
        if state in ("failed", "dead"):
            raise RuntimeError(f"the service is {state}")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `replicas_for` decides by."""
        return {"backlog_seconds": self._app.state.service.backlog_seconds}


def replicas_for(context: Any) -> tuple[int, dict[str, Any]]:
    """How many replicas there should be, by the seconds of work that all of them have before them; and no state.

    Serve itself keeps to the bounds, and waits for `upscale_delay_s` and `downscale_delay_s`.
    """
    known = (context.aggregated_metrics or {}).get("backlog_seconds", {})
    return max(1, math.ceil(sum(known.values()) / BACKLOG_SECONDS)), {}


deployment: Any = Lapsrn
app = deployment.bind()
