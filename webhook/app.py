"""The Flask app, and the short way around it for the hot routes.

Both lead to the same ``Route.answer``: Flask serves everything, and HotRoutes answers the paths that are called for
each pod before Flask is asked. Routing and request objects cost more than the decision itself.
"""

import logging
from collections.abc import Callable
from time import monotonic

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from webhook.endpoints import Reply, Route, refusal
from webhook.endpoints.faults import FaultLog
from webhook.endpoints.mutate import Mutate
from webhook.endpoints.probes import Probes
from webhook.metrics import Metrics
from webhook.ports import SnapshotView
from webhook.settings import ServerSettings

_log = logging.getLogger(__name__)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ROUTES = "spot-balancer-routes"
_FAULTS = "spot-balancer-faults"
MAX_OTHER_BYTES = 64 * 1024


def create_app(settings: ServerSettings, snapshots: SnapshotView, metrics: Metrics) -> Flask:
    """Wire endpoints to paths. Every answer, the refusals too, is small JSON of constant bytes."""
    app = Flask("webhook", static_folder=None, template_folder=None)
    # No redirects: werkzeug's are HTML, and no caller of ours follows one.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    routes = hot_routes(settings, snapshots, metrics)
    app.extensions[_ROUTES] = {route.path: route for route in routes}
    for route in routes:
        _add(app, route.path, _posted(route))
    probes = Probes(snapshots, metrics, grace_seconds=settings.ready_grace_seconds)
    _add(app, "/healthz", _got(probes.healthz))
    _add(app, "/readyz", _got(probes.readyz))
    _add(app, "/metrics", _got(lambda: probes.metrics(request.remote_addr or "")))
    faults = app.extensions[_FAULTS] = FaultLog(_log, monotonic)
    app.register_error_handler(Exception, lambda error: _response(_refused(error, faults)))
    app.after_request(lambda response: _count(response, metrics))
    return app


def hot_routes(settings: ServerSettings, snapshots: SnapshotView, metrics: Metrics) -> tuple[Route, ...]:
    """The paths called for each pod."""
    webhook = Route("/mutate", Mutate(snapshots, metrics), settings.max_review_bytes)
    if not settings.extender:
        return (webhook,)
    # Here and not above: it brings numpy, 25 MiB that a webhook alone has no use for.
    from webhook.endpoints.extender import Filter, Prioritize, Scorer  # noqa: PLC0415

    scorer = Scorer(snapshots)
    metrics.watch_count("ledger_pods", "Pods scored and not yet seen bound.", scorer.held)
    metrics.watch_count("stale_node_share", "Share of nodes without a fresh load; -1 unknown.", scorer.stale_share)
    most = settings.max_extender_bytes
    prioritize = Route("/extender/prioritize", Prioritize(scorer, metrics), most)
    return webhook, prioritize, Route("/extender/filter", Filter(scorer, metrics), most)


def body_limits(app: Flask) -> dict[str, int]:
    """How many bytes of body each path takes; any other takes ``MAX_OTHER_BYTES``."""
    routes: dict[str, Route] = app.extensions[_ROUTES]
    return {path: route.max_bytes for path, route in routes.items()}


class HotRoutes:
    """The paths that are called for each pod, answered without Flask."""

    def __init__(self, app: Flask, metrics: Metrics) -> None:
        routes: dict[str, Route] = app.extensions[_ROUTES]
        self._by_target = {path.encode(): route for path, route in routes.items()}
        self._faults: FaultLog = app.extensions[_FAULTS]
        self._metrics = metrics

    def find(self, target: bytes) -> Route | None:
        """The route of a request target, byte for byte; None for all that Flask has to look at."""
        return self._by_target.get(target)

    def answer(self, route: Route, content_type: str, body: bytes) -> Reply:
        """Answer what was posted; raises nothing."""
        try:
            reply = route.answer("POST", content_type, body)
        except Exception as error:  # noqa: BLE001 - the last resort; endpoints raise nothing
            reply = _refused(error, self._faults)
        if reply.status != 200:
            self._metrics.refused.labels(str(reply.status)).inc()
        return reply


def _add(app: Flask, path: str, view: Callable[[], Response]) -> None:
    app.add_url_rule(path, path, view, methods=_METHODS, provide_automatic_options=False)


def _posted(route: Route) -> Callable[[], Response]:
    return lambda: _response(route.answer(request.method, request.headers.get("Content-Type", ""), request.get_data()))


def _got(view: Callable[[], Reply]) -> Callable[[], Response]:
    return lambda: _response(view() if request.method in {"GET", "HEAD"} else refusal(405, allow="GET, HEAD"))


def _refused(error: Exception, faults: FaultLog) -> Reply:
    """The last resort: whatever Flask or an endpoint raised, told by its status alone."""
    if isinstance(error, HTTPException) and error.code:
        return refusal(error.code)
    faults.tell("a request failed", error, "")
    return refusal(500)


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers)


def _count(response: Response, metrics: Metrics) -> Response:
    if response.status_code >= 400:
        metrics.refused.labels(str(response.status_code)).inc()
    return response
