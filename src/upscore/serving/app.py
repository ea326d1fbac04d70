"""The API, and the page: what each path does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from upscore.errors import OutputError, RequestError
from upscore.explanation.page import WEB
from upscore.serving.answers import MEDIA_TYPES, Format, accepted
from upscore.serving.bodies import Bodies
from upscore.serving.corrections import Corrections
from upscore.serving.guard import Guard
from upscore.serving.problems import MEDIA_TYPE, ProblemDocument, of_photo, response
from upscore.serving.service import Service
from upscore.serving.tuning import Tuning, Wanted
from upscore.version import __version__

PAGE = Path(__file__).parent / "page"
Result = TypeVar("Result")

Model = Annotated[
    str | None, Query(max_length=200, description="A model by name; the default one if not given.")
]


def application(service: Service) -> Guard:
    """The ASGI application of a service."""
    settings = service.settings
    bodies = Bodies(settings)
    corrections = Corrections(settings.folder)
    tuning = Tuning(service.models, corrections)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(tuning.stop)
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="upscore",
        version=__version__,
        description="Label photos with a segmentation model.",
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={400: _PROBLEM, 401: _PROBLEM, 403: _PROBLEM, 404: _PROBLEM, 422: _PROBLEM},
    )
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "Server-Timing"],
        )
    _answer_problems(app)

    def known(model: str | None) -> str:
        if model is not None and model not in service.models.names:
            names = ", ".join(service.models.names)
            raise RequestError(404, f"no model is called {model[:100]!r}; there are {names}")
        return model or service.models.default

    @app.post(
        "/v1/segment",
        summary="Label a photo",
        response_class=Response,
        openapi_extra={"requestBody": _photo_body("photo")},
        responses={
            200: {
                "content": {kind: {} for kind in MEDIA_TYPES},
                "description": "The labels, in the photo's size.",
            },
            **dict.fromkeys((406, 408, 413, 415, 429, 503, 504), _PROBLEM),
        },
    )
    async def segment(
        request: Request,
        model: Model = None,
        format: Annotated[
            Format | None, Query(description="Not given: what the Accept header says, else png.")
        ] = None,
        confidence: Annotated[
            bool, Query(description="With json: how sure the model is, by class and by pixel.")
        ] = False,
    ) -> Response:
        name, wanted = known(model), format or accepted(request.headers.get("accept", ""))
        if confidence and wanted != "json":
            raise RequestError(422, "confidence=true is for format=json")
        async with bodies.reading(request, "photo") as fields:
            work = service.segment(fields["photo"], name, wanted, confidence)
            media, answer, times = await _while_connected(request, work, settings.deadline)
        timing = ", ".join(f"{stage};dur={1000 * s:.1f}" for stage, s in times.items())
        return Response(answer, media_type=media, headers={"Server-Timing": timing})

    @app.get("/v1/models", summary="The models, and what this server does")
    def models() -> dict[str, Any]:
        return {
            "default": service.models.default,
            "models": [service.models.describe(name) for name in service.models.names],
            "limits": {"bytes": settings.max_bytes, "pixels": settings.max_pixels},
            "corrections": corrections.describe(),
            "tuning": tuning.available(),
        }

    @app.get("/v1/model", summary="One model")
    async def one_model(model: Model = None) -> dict[str, Any]:
        return service.models.describe(known(model))

    @app.get("/v1/corrections", summary="How many corrected photos there are, and where")
    def all_corrections() -> dict[str, Any]:
        return corrections.describe()

    @app.post(
        "/v1/corrections",
        status_code=201,
        summary="Keep a photo and its corrected labels, to train on",
        openapi_extra={"requestBody": _photo_body("photo", "labels")},
        responses=dict.fromkeys((408, 409, 413, 415, 429), _PROBLEM),
    )
    async def correct(request: Request, model: Model = None) -> dict[str, Any]:
        spec = service.models.spec(known(model))
        async with bodies.reading(request, "photo", "labels") as fields:
            photo, labels = fields["photo"], fields["labels"]
            save = partial(corrections.save, photo, labels, spec, settings.max_pixels)
            return await service.keep(photo, save)

    @app.get("/v1/tuning", summary="How fine-tuning goes")
    def tuning_state() -> dict[str, Any]:
        return tuning.describe()

    @app.post(
        "/v1/tuning",
        status_code=202,
        summary="Fine-tune a model on the corrected photos",
        responses={409: _PROBLEM},
    )
    def tune(wanted: Annotated[Wanted, Query()]) -> dict[str, Any]:
        tuning.start(known(wanted.model), wanted)
        return tuning.describe()

    @app.delete("/v1/tuning", summary="Stop fine-tuning")
    def stop_tuning() -> dict[str, Any]:
        tuning.stop()
        return tuning.describe()

    @app.get("/healthz", summary="Whether the server lives", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "ok"

    @app.get(
        "/readyz",
        summary="Whether it takes photos",
        response_class=PlainTextResponse,
        responses={503: _PROBLEM},
    )
    async def ready() -> str:
        if service.closing:
            raise RequestError(503, "shutting down")
        return "ok"

    @app.get("/metrics", summary="Measures for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(service.measures.registry), media_type=CONTENT_TYPE_LATEST)

    for path, file in (("/", "index.html"), ("/docs", "docs.html")):
        app.get(path, include_in_schema=False)(_file(PAGE / file))
    app.get("/page/theme.css", include_in_schema=False)(_file(WEB / "theme.css"))
    app.mount("/page", StaticFiles(directory=PAGE))
    return Guard(app, settings, service.measures)


def _file(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def answer() -> FileResponse:
        return FileResponse(path)

    return answer


async def _while_connected(request: Request, work: Awaitable[Result], seconds: float) -> Result:
    """Wait for work as long as the client does, and no longer than the deadline."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise RequestError(
            504,
            f"no answer within {seconds:g} seconds: the server is busy; ask again later, or start "
            "it with a longer --deadline",
        ) from None
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
    if working.cancelled() or not working.done():
        raise RequestError(400, "the client left before its answer was there")
    return working.result()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer_problems(app: FastAPI) -> None:
    """Make all errors problem documents."""

    @app.exception_handler(RequestError)
    async def of_problem(_: Request, problem: RequestError) -> JSONResponse:
        return response(problem)

    @app.exception_handler(RequestValidationError)
    async def of_arguments(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return response(RequestError(422, said))

    @app.exception_handler(OutputError)
    async def of_output(_: Request, error: OutputError) -> JSONResponse:
        return response(of_photo(error))

    @app.exception_handler(Exception)
    async def of_mistakes(_: Request, error: Exception) -> JSONResponse:
        return response(RequestError(500, "an error in the server; see its log"))

    @app.exception_handler(HTTPException)
    async def of_paths(_: Request, error: HTTPException) -> JSONResponse:
        refused = RequestError(error.status_code, str(error.detail), dict(error.headers or {}))
        return response(refused)


_PROBLEM: dict[str, Any] = {
    "model": ProblemDocument,
    "description": "What was found, what was expected and what to do.",
    "content": {MEDIA_TYPE: {}},
}


def _photo_body(*fields: str) -> dict[str, Any]:
    """The OpenAPI description of a body that is read by `Bodies`."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": dict.fromkeys(fields, binary), "required": [*fields]}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if len(fields) == 1:
        content["application/octet-stream"] = {"schema": binary}
    return {"required": True, "content": content}
