"""A model on a GPU: providers are tried in turn until one has run a frame."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort

from perception.inference.engines import cuda
from perception.inference.engines.engine import EngineError, check_known_answer
from perception.inference.engines.io_binding import BoundSession
from perception.inference.engines.providers import (
    DEVICES,
    PROVIDERS,
    Provider,
    ProviderName,
    attempts,
    cache_folder,
    make_cache,
    session_entries,
    short_name,
    tensorrt_folder,
)
from perception.inference.engines.session import CheckedModel, load_session


@dataclass
class Found:
    """The result of the attempts."""

    bound: BoundSession | None = None
    """None if no attempt succeeded."""
    was_taken: bool = False
    """Whether ONNX Runtime made a session on the provider, even if it then failed."""
    failures: list[str] = field(default_factory=list)
    """Reasons of the failed attempts, in order."""


def first_that_runs(model: CheckedModel, provider: ProviderName, failures: Sequence[str] = ()) -> Found:
    """The first attempt whose session loads, binds its buffers and runs a frame.

    Args:
        failures: of another provider that was tried before.
    """
    found = Found(failures=list(failures))
    cache = cache_folder() if provider == "tensorrt" else Path()  # CUDA stores nothing
    lists = attempts(provider, model.contract, cache, ort.get_available_providers())
    if lists and (provider != "auto" or cuda.may_have_device()):
        cuda.set_up()
    if not lists and provider in DEVICES:
        found.failures.append(cuda.why_not_loaded(provider) or f"ONNX Runtime does not offer {provider}")
    for providers in lists:
        if providers[0][0] == PROVIDERS["tensorrt"]:
            make_cache(tensorrt_folder(model.contract, cache))
        if _runs(model, providers, found):
            break
        gc.collect()  # frees device memory that the failed attempt's traceback holds
        if missing := cuda.why_not_loaded(short_name(providers[0][0])):
            found.failures[-1] = missing  # other options do not help then
            break
    return found


def _runs(model: CheckedModel, providers: list[Provider], found: Found) -> bool:
    """One attempt; its result goes into `found`."""
    try:
        session = _loaded(model, providers)
        found.was_taken = True
        found.bound = _bound_and_run(model, session)
    except Exception as error:  # ONNX Runtime raises several types without a common base
        cause = error.__cause__
        found.failures.append(cuda.reason_of(cause if isinstance(cause, Exception) else error))
        return False
    return True


def _loaded(model: CheckedModel, providers: list[Provider]) -> ort.InferenceSession:
    requested = providers[0][0]
    entries = session_entries(requested, model.contract)
    session = load_session(model.content, model.where, providers, model.threads, entries)
    if session.get_providers()[0] != requested:
        raise EngineError(f"{short_name(requested)} was not taken")  # ONNX Runtime raises no error
    return session


def _bound_and_run(model: CheckedModel, session: ort.InferenceSession) -> BoundSession:
    name = short_name(session.get_providers()[0])
    bound = BoundSession(session, DEVICES[name], run_waits=name == "cuda")
    width, height = model.contract.takes_wh
    # The first run captures the graph, takes memory and chooses kernels: it is part of loading.
    bound.run(np.full((1, height, width, 3), model.contract.pad_bgr, np.uint8))
    # Twice: the replay of a captured graph must give the answer too.
    for _ in range(2):
        check_known_answer(model.known, model.contract, name, lambda image: bound.run(image[np.newaxis]))
    return bound


def nodes_by_provider(session: ort.InferenceSession) -> dict[str, int]:
    """Number of the graph's nodes by provider, the requested one first; empty if not recorded."""
    counts: Counter[str] = Counter()
    try:
        for part in session.get_provider_graph_assignment_info():
            counts[short_name(part.ep_name)] += len(part.get_nodes())
    except Exception:  # the session does not record it
        return {}
    first = short_name(session.get_providers()[0])
    return dict(sorted(counts.items(), key=lambda entry: entry[0] != first))
