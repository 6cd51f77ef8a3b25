"""A model on a GPU: what is asked for in turn, until one attempt has run a frame."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort

from perception.inference.contract import ModelContract
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
from perception.inference.engines.session import load_session
from perception.inference.known_answer import KnownAnswer


@dataclass(frozen=True)
class Asked:
    """A model that is to run on a GPU."""

    content: bytes
    where: str
    contract: ModelContract
    threads: int
    known: KnownAnswer | None = None
    """What the network must give, for any attempt to count as running."""


@dataclass
class Found:
    """What came of the attempts."""

    session: ort.InferenceSession | None = None
    """None where no attempt ran."""
    bound: BoundSession | None = None
    was_taken: bool = False
    """Whether ONNX Runtime had a session on the provider, whatever came of it."""
    failures: list[str] = field(default_factory=list)
    """Why earlier attempts failed, in their order."""


def first_that_runs(asked: Asked, provider: ProviderName, failures: list[str] | None = None) -> Found:
    """The first attempt whose session loads, binds its buffers and runs a frame.

    Args:
        failures: of another provider that was tried before.
    """
    found = Found(failures=list(failures or ()))
    cache = cache_folder() if provider == "tensorrt" else Path()  # nobody else keeps anything
    lists = attempts(provider, asked.contract, cache, ort.get_available_providers())
    if lists and (provider != "auto" or cuda.may_have_device()):
        cuda.set_up()
    if not lists and provider in DEVICES:
        found.failures.append(cuda.why_not_loaded(provider) or f"ONNX Runtime does not offer {provider}")
    for providers in lists:
        if providers[0][0] == PROVIDERS["tensorrt"]:
            make_cache([tensorrt_folder(asked.contract, cache)])
        if _runs(asked, providers, found):
            break
        gc.collect()  # a failed attempt's memory on the device, which its traceback still holds
        if missing := cuda.why_not_loaded(short_name(providers[0][0])):
            found.failures[-1] = missing  # and other options do not change that
            break
    return found


def _runs(asked: Asked, providers: list[Provider], found: Found) -> bool:
    """One attempt; what came of it goes into `found`."""
    try:
        session = _loaded(asked, providers)
        found.was_taken = True
        found.bound = _bound_and_run(asked, session)
        found.session = session
    except Exception as error:  # ONNX Runtime raises several kinds, none with a base of its own
        cause = error.__cause__
        found.failures.append(cuda.reason_of(cause if isinstance(cause, Exception) else error))
        return False
    return True


def _loaded(asked: Asked, providers: list[Provider]) -> ort.InferenceSession:
    wanted = providers[0][0]
    entries = session_entries(wanted, asked.contract)
    session = load_session(asked.content, asked.where, providers, asked.threads, entries)
    if session.get_providers()[0] != wanted:
        raise EngineError(f"{short_name(wanted)} was not taken")  # in silence
    return session


def _bound_and_run(asked: Asked, session: ort.InferenceSession) -> BoundSession:
    name = short_name(session.get_providers()[0])
    bound = BoundSession(session, DEVICES[name], run_waits=name == "cuda")
    width, height = asked.contract.takes_wh
    # A graph is captured, memory is taken and kernels are chosen at the first run: it is part of loading.
    bound.run(np.full((1, height, width, 3), asked.contract.pad_bgr, np.uint8))
    # Twice: what a captured graph gives when it is replayed counts, too.
    for _ in range(2):
        check_known_answer(asked.known, asked.contract, name, lambda image: bound.run(image[np.newaxis]))
    return bound


def nodes_by_provider(session: ort.InferenceSession) -> dict[str, int]:
    """How many nodes of the graph each provider runs, the wanted one first; empty where nobody counted."""
    counts: Counter[str] = Counter()
    try:
        for part in session.get_provider_graph_assignment_info():
            counts[short_name(part.ep_name)] += len(part.get_nodes())
    except Exception:  # a session that was not asked to record it
        return {}
    first = short_name(session.get_providers()[0])
    return dict(sorted(counts.items(), key=lambda entry: entry[0] != first))
