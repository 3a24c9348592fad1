"""Every error that kregistry raises deliberately.

    KregistryError                       shown as one message, without a traceback
    |-- InputError                 (2)   what the user wrote is wrong
    |   |-- ManifestError                one or more problems in a kernels.yaml
    |   |-- UnknownNameError             a target, model, kernel type ... that does not exist
    |   |   `-- UnknownArchitectureError a model whose shapes `kregistry init` does not know
    |   |-- ShapeError                   a shape that its kernel type refuses
    |   |-- ProviderConflictError        two plugins offer one kernel type
    |   |-- ArgumentError                a call whose tensors do not fit (debug mode only)
    |   `-- UnseenCallError              a call that no entry covers, where that is an error
    |-- MissingRequirement         (3)   something is missing on the machine; the hint names the command that fixes it
    |-- StorageError               (4)   a disk is full, a directory cannot be written, a file cannot be read
    |-- PluginError                (1)   a plugin broke its contract
    |-- TrustError                 (6)   something from a remote was refused: its signature, or the policy
    `-- IncompleteError            (1)   the work was done as far as it could be, and is not complete
        |-- PlanError                    an entry could not be planned
        |-- DriftError                   the plan differs from a lock file
        |-- CompileError           (5)   a kernel that DeepGEMM chooses does not compile
        |-- VerifyError                  a kernel is missing or damaged
        |-- AuditError                   a kernel is not what its source compiles to
        |-- ConformanceError             a kernel type breaks a rule of the conformance kit
        `-- WarmupError                  an entry could not be warmed up

The number is the exit code of the command line. An exception outside this tree is a bug and keeps its traceback.
All of them can be pickled: they cross process boundaries.
"""

from kregistry.errors.base import InputError, KregistryError, MissingRequirement, PluginError
from kregistry.errors.in_manifest import ManifestError, ManifestProblem
from kregistry.errors.incomplete import (
    AuditError,
    CompileError,
    ConformanceError,
    DriftError,
    IncompleteError,
    PlanError,
    VerifyError,
    WarmupError,
)
from kregistry.errors.names import ProviderConflictError, UnknownArchitectureError, UnknownNameError
from kregistry.errors.of_calls import ArgumentError, ShapeError, UnseenCallError
from kregistry.errors.rejection import Rejection, TrustError
from kregistry.errors.storage import StorageError, storage_errors
from kregistry.errors.wording import count_of, describe_error, nearest_hint, place_of, quoted, shorten

__all__ = [
    "ArgumentError",
    "AuditError",
    "CompileError",
    "ConformanceError",
    "DriftError",
    "IncompleteError",
    "InputError",
    "KregistryError",
    "ManifestError",
    "ManifestProblem",
    "MissingRequirement",
    "PlanError",
    "PluginError",
    "ProviderConflictError",
    "Rejection",
    "ShapeError",
    "StorageError",
    "TrustError",
    "UnknownArchitectureError",
    "UnknownNameError",
    "UnseenCallError",
    "VerifyError",
    "WarmupError",
    "count_of",
    "describe_error",
    "nearest_hint",
    "place_of",
    "quoted",
    "shorten",
    "storage_errors",
]
