"""The registry: discovery through real entry points, broken plugins, clashes and choices."""

from __future__ import annotations

import contextlib
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import Result
from distributions import OFFERS, Install
from events import EventLog
from sample_kernel_types import OtherSample, Prenorm, Sample

from kregistry import NUM_SMS, ArchSupport, Proof, RunDimension, hookimpl
from kregistry.entry_points import without_entry_points
from kregistry.errors import ManifestError, PluginError, ProviderConflictError, ShapeError, UnknownNameError
from kregistry.kernel_type import Choice, KernelType, Shape, Size
from kregistry.registry import Provider, Registry
from kregistry.target import get_target
from manifests import problems, read, with_kernels

OURS = {
    "fp8_gemm_nt",
    "m_grouped_fp8_gemm_nt_contiguous",
    "m_grouped_fp8_gemm_nt_masked",
    "tf32_hc_prenorm_gemm",
}


class Plugin:
    """Offers some kernel types."""

    def __init__(self, *kernel_types: Any) -> None:
        self.kernel_types = kernel_types

    @hookimpl
    def kregistry_kernel_types(self) -> Iterable[Any]:
        return self.kernel_types


def empty() -> Registry:
    return Registry(load_entry_points=False)


# ---- what is installed -----------------------------------------------------------------------------------


def test_the_plugins_of_the_distribution_are_found_through_entry_points() -> None:
    registry = Registry()
    assert set(registry.names()) >= OURS
    assert registry.broken == ()
    assert {(each.plugin, each.distribution) for each in registry.providers} >= {
        ("fp8_gemm", "kregistry"),
        ("hc_prenorm", "kregistry"),
    }


def test_a_plugin_of_another_distribution_is_found(install: Install) -> None:
    install("extra-kernels", "2.5", OFFERS.format("Sample"), plugin="extra")
    registration = Registry().registration("sample")
    assert type(registration.kernel_type).__name__ == "Sample"
    assert registration.provider == Provider("extra", "extra-kernels", "2.5")
    assert str(registration.provider) == "extra (extra-kernels 2.5)"


def test_without_entry_points_there_is_nothing() -> None:
    registry = empty()
    assert registry.names() == () and registry.providers == () and registry.run_dimensions() == ()


# ---- broken plugins: reported by name, version and cause; the rest works -------------------------------------

BROKEN = {
    "import error": (
        "import a_module_that_is_nowhere",
        "cannot be imported: ModuleNotFoundError: No module named 'a_module_that_is_nowhere' ({file}:1)",
    ),
    "syntax error": ("def broken(:", "cannot be imported: SyntaxError: invalid syntax"),
    "syntax error in the file": ("x = 1\ny = = 2", "({file}:2)"),
    "import of a broken import": ("import json.nowhere", "No module named 'json.nowhere' ({file}:1)"),
    "exception": ("x = 1\nx / 0", "cannot be imported: ZeroDivisionError: division by zero ({file}:2)"),
    "exit": ("import sys\nsys.exit(3)", "cannot be imported: SystemExit: 3 ({file}:2)"),
    "wrong argument": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_planned(kernl): pass
        """,
        "Plugin 'bad (bad-dist 0.3)' for hook 'kregistry_kernel_planned'",
    ),
    "unknown hook": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types(): return []
        @hookimpl
        def kregistry_kernel_plant(kernel): pass
        """,
        "unknown hook 'kregistry_kernel_plant'",
    ),
    "hook that raises": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types(): raise RuntimeError("no licence")
        """,
        "kregistry_kernel_types() failed: RuntimeError: no licence",
    ),
    "hook that exits": (
        """
        import sys
        from kregistry import hookimpl
        @hookimpl
        def kregistry_kernel_types(): sys.exit(3)
        """,
        "kregistry_kernel_types() failed: SystemExit: 3",
    ),
    "generator that raises": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types():
            from sample_kernel_types import Sample
            yield Sample()
            raise RuntimeError("no licence")
        """,
        "kregistry_kernel_types() failed: RuntimeError: no licence",
    ),
    "hook that returns nothing": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types(): pass
        """,
        "kregistry_kernel_types() failed: TypeError: 'NoneType' object is not iterable",
    ),
    "hook that returns junk": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types(): return ["gemm"]
        """,
        "kregistry_kernel_types() must return KernelType objects, got 'gemm'",
    ),
    "hook that returns a class": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types():
            from sample_kernel_types import Sample
            return [Sample]
        """,
        "kregistry_kernel_types() must return KernelType objects, got <class 'sample_kernel_types.Sample'>",
    ),
    "abstract kernel type": (
        """
        from kregistry import KernelType, hookimpl
        class Half(KernelType): name = "half"
        @hookimpl
        def kregistry_kernel_types(): return [Half()]
        """,
        "kregistry_kernel_types() failed: TypeError: Can't instantiate abstract class Half",
    ),
    "error that cannot be shown": (
        """
        class Unspeakable(Exception):
            def __str__(self): raise ValueError
        raise Unspeakable
        """,
        "cannot be imported: Unspeakable: <exception str() failed> ({file}:4)",
    ),
    "error that cannot be located": (
        """
        class Nowhere(Exception):
            @property
            def __traceback__(self): raise ValueError
        raise Nowhere("here")
        """,
        "cannot be imported: Nowhere: here (?)",
    ),
    "cancelled": (
        "import asyncio; raise asyncio.CancelledError",
        "cannot be imported: CancelledError ({file}:1)",
    ),
    "hook that raises no Exception": (
        """
        from kregistry import hookimpl
        class Odd(BaseException):
            def __str__(self): raise SystemExit(4)
        @hookimpl
        def kregistry_kernel_types(): raise Odd
        """,
        "kregistry_kernel_types() failed: Odd: <exception str() failed>",
    ),
    "module that cannot be listed": (
        "def __dir__(): raise RuntimeError('no names')",
        "RuntimeError: no names",
    ),
    "junk without a repr": (
        """
        from kregistry import hookimpl
        class Junk:
            def __repr__(self): raise RuntimeError("no repr")
        @hookimpl
        def kregistry_kernel_types(): return [Junk()]
        """,
        "cannot be used: RuntimeError: no repr",
    ),
    "name that raises": (
        """
        from kregistry import hookimpl
        from sample_kernel_types import Sample
        class Named(Sample):
            name = property(lambda self: 1 / 0)
        @hookimpl
        def kregistry_kernel_types(): return [Named()]
        """,
        "Named.name raises ZeroDivisionError: division by zero",
    ),
    "kernel type that cannot be copied": (
        """
        from kregistry import hookimpl
        from sample_kernel_types import Sample
        class Single(Sample):
            name = "single"
            def __copy__(self): raise RuntimeError("no copy")
        @hookimpl
        def kregistry_kernel_types(): return [Sample(), Single()]
        """,
        "cannot be used: RuntimeError: no copy ({file}:6)",
    ),
    "kernel type whose copy is none": (
        """
        from kregistry import hookimpl
        from sample_kernel_types import Sample
        class Single(Sample):
            def __copy__(self): return None
        @hookimpl
        def kregistry_kernel_types(): return [Single()]
        """,
        "kregistry_kernel_types() must return KernelType objects, got None",
    ),
    "one name twice": (
        """
        from kregistry import NUM_SMS, hookimpl
        @hookimpl
        def kregistry_kernel_types():
            from sample_kernel_types import OtherSample, Sample
            return [Sample(), OtherSample()]
        """,
        "kregistry_kernel_types() offers 'sample' twice",
    ),
}


@pytest.mark.parametrize(("source", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_reported_and_the_rest_works(install: Install, source: str, cause: str) -> None:
    file = install("bad-dist", "0.3", source, plugin="bad")
    install("good-dist", "1.0", OFFERS.format("Prenorm"), plugin="good")
    registry = Registry()
    (error,) = registry.broken
    assert (error.plugin, error.version) == ("bad", "(bad-dist 0.3)")
    assert error.message.startswith("plugin bad (bad-dist 0.3): ")
    assert cause.format(file=file) in error.text
    assert set(registry.names()) >= OURS | {"prenorm"}
    assert "sample" not in registry.names()
    assert "bad" not in {each.plugin for each in registry.providers}


def test_a_broken_plugin_hears_no_events(install: Install) -> None:
    source = """
    from kregistry import NUM_SMS, hookimpl
    heard = []
    @hookimpl
    def kregistry_kernel_types(): return ["junk"]
    @hookimpl
    def kregistry_plan_started(entries): heard.append(entries)
    """
    install("bad-dist", "0.3", source, plugin="bad")
    registry = Registry()
    registry.hook.kregistry_plan_started(entries=3, target="h100")
    registry.events.flush()
    import bad_dist_module  # type: ignore[import-not-found]

    assert bad_dist_module.heard == []


def test_a_misspelt_hook_is_refused_with_the_nearest_name() -> None:
    class Misspelt:
        @hookimpl
        def kregistry_kernel_plant(self) -> None: ...

    for add in (empty().register, empty().listen):
        with pytest.raises(PluginError) as caught:
            add(Misspelt())
        assert str(caught.value) == (
            "plugin Misspelt (this process): unknown hook 'kregistry_kernel_plant'\n"
            "hint: did you mean 'kregistry_kernel_planned'?"
        )


def test_the_command_line_warns_of_a_broken_plugin(install: Install, kregistry: Callable[..., Result]) -> None:
    install("bad-dist", "0.3", "raise RuntimeError('odd')", plugin="bad")
    result = kregistry("list", "--json")
    assert result.code == 0
    assert result.err.startswith("warning: plugin bad (bad-dist 0.3): cannot be imported: RuntimeError: odd (")
    assert [message.partition(": c")[0] for message in result.json["broken"]] == ["plugin bad (bad-dist 0.3)"]
    assert {each["name"] for each in result.json["kernel_types"]} >= OURS


# ---- bad declarations --------------------------------------------------------------------------------------

IN_BUFFERS = ("shape", "max_m", "tensors")
DECLARATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "name is no text": ({"name": 3}, "Sample.name must be a str"),
    "name is no identifier": ({"name": "a-b"}, "Sample.name must be an identifier, got 'a-b'"),
    "summary": ({"summary": None}, "Sample.summary must be a str"),
    "dimensions is a list": ({"dimensions": []}, "Sample.dimensions must be a tuple"),
    "a dimension is a text": ({"dimensions": ("n",)}, "Sample.dimensions must hold Dimension objects"),
    "run dimension": ({"run_dimension": "m"}, "Sample.run_dimension must be a RunDimension"),
    "function names is a text": ({"function_names": "f"}, "Sample.function_names must be a tuple"),
    "archs": ({"archs": ["sm90"]}, "Sample.archs must be a tuple"),
    "archs of texts": ({"archs": ("sm90",)}, "Sample.archs must hold ArchSupport objects"),
    "arch is a number": (
        {"archs": (ArchSupport(90),)},  # type: ignore[arg-type]
        "Sample.archs: the fields of ArchSupport(arch=90, deep_gemm='', reason='') must be texts",
    ),
    "function names of numbers": ({"function_names": (1,)}, "Sample.function_names must hold str objects"),
    "summary of two lines": (
        {"summary": "a\nb"},
        r"Sample.summary must be one line of printable text, got 'a\nb'",
    ),
    "empty input": ({"empty_input": "return"}, "Sample.empty_input must be a EmptyInput"),
    "no specifier": (
        {"raises_on_empty": "0.2"},
        "Sample.raises_on_empty must be a PEP 440 specifier such as '>=0.2', '' (all) or 'none', got '0.2'",
    ),
    "half a specifier": (
        {"passes_on": ">=0.1.4,<"},
        "Sample.passes_on must be a PEP 440 specifier such as '>=0.2', '' (all) or 'none', got '>=0.1.4,<'",
    ),
    "an arch of no version": (
        {"archs": (ArchSupport("sm90", ">=x", "why"),)},
        "Sample.archs: deep_gemm of sm90 must be a PEP 440 specifier such as '>=0.2', '' (all) or 'none', got '>=x'",
    ),
    "a value of no version": (
        {"dimensions": (Choice("output", "a", ("bf16", "f32"), needs={"f32": "none"}),)},
        "Sample.dimensions: needs of output f32 must be a PEP 440 specifier such as '>=0.2', got 'none'",
    ),
    "examples are no mappings": (
        {"proof": Proof(examples=(3,))},  # type: ignore[arg-type]
        "Sample.proof.examples must be a tuple of mappings from dimensions to values",
    ),
    "a dimension is called by a number": (
        {"dimensions": (Size(1, "a"),)},  # type: ignore[arg-type]
        "Sample declares the dimension 1, expected a text as its name",
    ),
    "a dimension without a meaning": (
        {"dimensions": (Size("n", None),)},  # type: ignore[arg-type]
        "Sample declares the dimension 'n', whose meaning and unit must be texts",
    ),
    "the run dimension is called by a number": (
        {"run_dimension": RunDimension(1, "a")},  # type: ignore[arg-type]
        "Sample declares the run-time dimension 1, expected a text as its name",
    ),
    "the run dimension starts at 0": (
        {"run_dimension": RunDimension("m", "a", start=0)},
        "Sample.run_dimension: start and step must be integers >= 1, got 0 and 1",
    ),
    "one dimension twice": (
        {"dimensions": (Size("n", "a"), Size("n", "b"))},
        "Sample declares the dimension 'n' twice",
    ),
    "a dimension is called like the run dimension": (
        {"dimensions": (Size("m", "a"),)},
        "Sample declares the dimension 'm' twice",
    ),
    "a setting is called like a dimension": (
        {"dimensions": (Size("num_sms", "a"),), "settings": (NUM_SMS,)},
        "Sample declares the dimension 'num_sms' twice",
    ),
    "settings is a list": ({"settings": [NUM_SMS]}, "Sample.settings must be a tuple"),
    "a setting is a dimension": ({"settings": (Size("n", "a"),)}, "Sample.settings must hold Setting objects"),
    "signature is a text": ({"signature": "a, b, d"}, "Sample.signature must be a Signature"),
    "proof is a mapping": ({"proof": {"examples": ()}}, "Sample.proof must be a Proof"),
    "a dimension is no identifier": (
        {"dimensions": (Size("head-dim", "a"),)},
        "Sample declares the dimension 'head-dim', expected an identifier that does not begin with _",
    ),
    **{
        f"a run dimension called {name!r}": (
            {"run_dimension": RunDimension(name, "rows")},
            f"Sample declares the run-time dimension {name!r}, expected an identifier that does not begin with _",
        )
        for name in ("", "a b", "x-", "_m", "1")
    },
    "nothing reads the shape of a call": (
        {"shape_of": KernelType.shape_of},
        "Sample must define shape_of(): the dimensions of a real call",
    ),
    **{
        f"a dimension called {name}": (
            {"dimensions": (Size(name, "a"),)},
            f"Sample declares the dimension {name!r}, a name that is reserved in shapes or buffers: rename it",
        )
        for name in ("target", "items", "at", "keys", "values", "get", "kernel_type", "items_", "shown", *IN_BUFFERS)
    },
}


@pytest.mark.parametrize(("attributes", "text"), DECLARATIONS.values(), ids=DECLARATIONS.keys())
def test_a_bad_declaration_is_refused(attributes: dict[str, Any], text: str) -> None:
    kernel_type = type("Sample", (Sample,), attributes)()
    registry = empty()
    with pytest.raises(PluginError) as caught:
        registry.register(Plugin(kernel_type), "mine")
    assert str(caught.value) == f"plugin mine (this process): {text}"
    assert registry.names() == ()


def test_a_missing_declaration_is_refused() -> None:
    class Nameless(Sample):
        pass

    Nameless.name = None  # type: ignore[assignment]
    with pytest.raises(PluginError, match=r"Nameless\.name must be a str"):
        empty().register(Plugin(Nameless()), "mine")


def test_a_misspelt_declaration_is_named() -> None:
    class Misspelt(Sample):
        sumary = "x"

    Misspelt.summary = None  # type: ignore[assignment]
    text = r"Misspelt\.summary must be a str: found 'sumary' instead, did you mean 'summary'\?"
    with pytest.raises(PluginError, match=text):
        empty().register(Plugin(Misspelt()), "mine")


# ---- two providers of one name -----------------------------------------------------------------------------

USES_SAMPLE = with_kernels("{type: sample, shape: {n: 8}, m: {stop: 3}}")


@pytest.fixture
def two_providers(install: Install) -> None:
    install("dist-b", "2.0", OFFERS.format("OtherSample"), plugin="second")
    install("dist-a", "1.0", OFFERS.format("Sample"), plugin="first")


@pytest.mark.usefixtures("two_providers")
def test_two_providers_are_an_error_that_names_both() -> None:
    registry = Registry()
    with pytest.raises(ProviderConflictError) as caught:
        registry["sample"]
    assert caught.value.exit_code == 2
    assert set(caught.value.providers) == {"first (dist-a 1.0)", "second (dist-b 2.0)"}
    assert len([each for each in registry.registrations() if each.kernel_type.name == "sample"]) == 2


@pytest.mark.usefixtures("two_providers")
@pytest.mark.parametrize(
    ("choice", "summary"),
    [("first", "a sample"), ("second", "another sample"), ("dist-a", "a sample"), ("dist-b", "another sample")],
)
def test_choosing_by_plugin_or_distribution(choice: str, summary: str) -> None:
    assert Registry({"sample": choice})["sample"].summary == summary


@pytest.mark.usefixtures("two_providers")
def test_choosing_somebody_who_does_not_provide_it() -> None:
    with pytest.raises(UnknownNameError) as caught:
        Registry({"sample": "secnd"})["sample"]
    assert str(caught.value) == "unknown provider of sample 'secnd'\nhint: did you mean 'second'?"


@pytest.mark.usefixtures("two_providers")
def test_the_manifest_reports_the_clash_and_chooses() -> None:
    (problem,) = problems(USES_SAMPLE)
    assert problem.startswith("6:16: models.v3.kernels[0].type: kernel type 'sample' is provided by ")
    assert " | choose one: --plugin sample=" in problem
    registry = Registry()
    manifest = read(USES_SAMPLE + "providers: {sample: second}\n", registry)
    chosen = registry.choosing(manifest.providers)
    assert chosen["sample"].summary == "another sample"
    assert dict(chosen.choices) == {"sample": "second"}


@pytest.mark.usefixtures("two_providers")
@pytest.mark.parametrize("rest", ["", "modles: {}\n"], ids=["read", "refused"])
def test_reading_a_manifest_leaves_the_registry_as_it_was(rest: str) -> None:
    registry = Registry()
    with contextlib.suppress(ManifestError):
        read(USES_SAMPLE + "providers: {sample: second}\n" + rest, registry)
    assert dict(registry.choices) == {}
    with pytest.raises(ProviderConflictError):
        registry["sample"]


@pytest.mark.usefixtures("two_providers")
def test_a_view_shares_what_is_registered_later() -> None:
    registry, log = Registry(), EventLog()
    view = registry.choosing({"sample": "second"})
    registry.register(Plugin(Prenorm()), "mine")
    view.listen(log)
    assert view["prenorm"] is registry["prenorm"]
    registry.hook.kregistry_warmup_started(launches=1)
    registry.events.flush()
    assert log.names() == ["kregistry_warmup_started"]
    assert view["sample"].summary == view.choosing({})["sample"].summary == "another sample"


@pytest.mark.parametrize("chosen, found", [({}, ProviderConflictError), ({"sample": "first"}, Sample)])
def test_a_provider_that_comes_after_a_look_up_counts(chosen: dict[str, str], found: type) -> None:
    registry = empty()
    view = registry.choosing(chosen)
    registry.register(Plugin(Sample()), "first")
    assert view["sample"] is registry["sample"] is view["sample"]
    registry.register(Plugin(OtherSample()), "second")
    with pytest.raises(ProviderConflictError):
        registry["sample"]
    with pytest.raises(found) if found is ProviderConflictError else contextlib.nullcontext():
        assert type(view["sample"]) is found
    assert type(registry.choosing({"sample": "second"})["sample"]) is OtherSample


@pytest.mark.usefixtures("two_providers")
@pytest.mark.stub
def test_a_plan_uses_the_provider_that_its_manifest_chooses(
    kregistry: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the command line too, where nobody has chosen before."""
    from kregistry.plan import planner

    def swept(run: object, sweeps: Iterable[planner.Sweep], processes: int) -> tuple[()]:
        assert [each.kernel_type.summary for each in sweeps] == ["another sample"]
        return ()

    monkeypatch.setattr(planner.DryRun, "run", swept)
    path = tmp_path / "kernels.yaml"
    path.write_text(USES_SAMPLE + "providers: {sample: second}\n")
    assert kregistry("plan", path).code == 0


@pytest.mark.usefixtures("two_providers")
def test_the_callers_choice_wins_over_the_manifests() -> None:
    registry = Registry({"sample": "first"})
    manifest = read(USES_SAMPLE + "providers: {sample: second}\n", registry)
    assert registry.choosing(manifest.providers)["sample"].summary == "a sample"


@pytest.mark.usefixtures("two_providers")
def test_choosing_on_the_command_line(kregistry: Callable[..., Result]) -> None:
    clash = kregistry("list", "sample")
    assert clash.code == 2
    assert clash.err.startswith("error: kernel type 'sample' is provided by ")
    assert "first (dist-a 1.0)" in clash.err and "second (dist-b 2.0)" in clash.err
    chosen = kregistry("list", "sample", "--plugin", "sample=second", "--json")
    (kernel_type,) = chosen.json["kernel_types"]
    assert (kernel_type["plugin"], kernel_type["distribution"], kernel_type["version"]) == ("second", "dist-b", "2.0")
    both = [each["plugin"] for each in kregistry("list", "--json").json["kernel_types"] if each["name"] == "sample"]
    assert sorted(both) == ["first", "second"]


def test_plugins_of_one_name_are_distinguished_by_their_distribution(install: Install) -> None:
    install("dist-a", "1.0", OFFERS.format("Sample"), plugin="same")
    install("dist-b", "2.0", OFFERS.format("OtherSample"), plugin="same")
    registry = Registry()
    assert registry.broken == ()
    with pytest.raises(ProviderConflictError) as caught:
        registry["sample"]
    assert "--plugin sample=dist-" in caught.value.hint
    with pytest.raises(ProviderConflictError):
        Registry({"sample": "same"})["sample"]
    assert Registry({"sample": "dist-b"})["sample"].summary == "another sample"


# ---- plugins of this process, lookups ----------------------------------------------------------------


def test_a_plugin_of_this_process() -> None:
    registry = empty()
    registry.register(Plugin(Sample(), Prenorm()), "mine")
    assert registry.names() == ("prenorm", "sample")
    assert registry.run_dimensions() == ("m",)
    assert str(registry.registration("sample").provider) == "mine (this process)"


def test_a_plugin_is_called_like_its_module_or_class_by_default() -> None:
    registry = empty()
    registry.register(Plugin(Sample()))
    registry.register(SimpleNamespace(__name__="a_module"))
    assert [each.plugin for each in registry.providers] == ["Plugin", "a_module"]


def test_registering_twice_is_refused_and_harms_nothing() -> None:
    registry = empty()
    registry.register(Plugin(Sample()), "mine")
    with pytest.raises(PluginError, match=r"plugin mine \(this process\): is already registered"):
        registry.register(Plugin(OtherSample()), "mine")
    assert registry["sample"].summary == "a sample"


def test_an_unknown_kernel_type_has_a_hint() -> None:
    registry = empty()
    registry.register(Plugin(Sample()), "mine")
    with pytest.raises(UnknownNameError) as caught:
        registry["sampel"]
    assert str(caught.value) == "unknown kernel type 'sampel'\nhint: did you mean 'sample'?"
    with pytest.raises(UnknownNameError) as caught:
        empty()["sample"]
    assert caught.value.hint == "no kernel type is known"


def test_a_broken_plugin_may_provide_what_is_unknown(install: Install) -> None:
    """No other name is suggested, unless it is a slip of the finger."""
    install("bad-dist", "0.3", "def broken(:", plugin="bad")
    registry = Registry()
    for name, more in (("my_gemm", ""), ("fp8_gem_nt", "; did you mean 'fp8_gemm_nt'?")):
        with pytest.raises(UnknownNameError) as caught:
            registry[name]
        assert caught.value.hint == f"a plugin that could not be loaded may provide it: bad{more}"


def test_one_bad_kernel_type_leaves_the_others_of_its_plugin(install: Install) -> None:
    source = """
    from kregistry import hookimpl
    @hookimpl
    def kregistry_kernel_types():
        from sample_kernel_types import Prenorm, Sample
        class Bad(Sample):
            name = "not an identifier"
        return [Bad(), Prenorm()]
    """
    install("mixed-dist", "0.4", source, plugin="mixed")
    registry = Registry()
    (error,) = registry.broken
    assert error.message == ("plugin mixed (mixed-dist 0.4): Bad.name must be an identifier, got 'not an identifier'")
    assert "prenorm" in registry.names()
    assert "mixed" in {each.plugin for each in registry.providers}


@pytest.mark.parametrize("name", ["type", "label", "shape"])
def test_a_run_dimension_called_like_a_key_of_a_kernel_is_refused(name: str) -> None:
    kernel_type = type("Sample", (Sample,), {"run_dimension": RunDimension(name, "rows")})()
    with pytest.raises(PluginError, match="a key of every kernel in a manifest: rename it"):
        empty().register(Plugin(kernel_type), "mine")


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (ShapeError("n must be even"), "sample: n must be even"),
        (ShapeError("must be even", "n"), r"sample\.n: must be even"),
        (KeyError("k"), r"sample: check\(\) failed for n=8.*: KeyError: 'k' \(.*test_registry.py:\d+\)"),
    ],
)
def test_whatever_check_raises_is_a_shape_error_with_the_name(raised: Exception, text: str) -> None:
    def check(self: Sample, shape: Shape) -> None:
        raise raised

    kernel_type = type("Sample", (Sample,), {"check": check})()
    with pytest.raises(ShapeError) as caught:
        kernel_type.resolve({"n": 8}, get_target("h100"))
    assert re.search(text, caught.value.message), caught.value.message
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.message == caught.value.message


def test_case_10_a_distribution_whose_metadata_lacks_entry_points_is_named(install: Install, tmp_path: Path) -> None:
    """A plugin that is installed but not offered: the error names it, and not only the names that are known."""
    install("acme-kernels", "1.2", "", plugin="acme", group="another.group")
    metadata = next(tmp_path.rglob("acme_kernels-1.2.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: kregistry[deepgemm]>=0.1\n")
    install("unrelated", "3", "", plugin="x", group="another.group")
    assert without_entry_points("kregistry") == ("acme-kernels 1.2",)
    with pytest.raises(UnknownNameError) as caught:
        Registry()["acme_gemm"]
    assert caught.value.hint.endswith(
        "; acme-kernels 1.2 needs kregistry, but the installed metadata names no plugin of it: install it again"
    )
    with pytest.raises(UnknownNameError) as caught:
        Registry(load_entry_points=False)["acme_gemm"]
    assert "acme-kernels" not in caught.value.hint


def test_many_unknown_names_read_the_metadata_of_distributions_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each manifest has a view of its own."""
    read: list[str] = []
    monkeypatch.setattr("kregistry.registry.note_of_missing_plugins", lambda group: read.append(group) or "install it")
    registry = Registry()
    for view in (registry, registry.choosing({}), registry.choosing({"x": "y"}).choosing({}), registry):
        for name in ("unknown", "also_unknown"):
            with pytest.raises(UnknownNameError, match="install it"):
                view[name]
    assert read == ["kregistry"]


@pytest.mark.parametrize(
    ("requirement", "counts"),
    [("kregistry", True), ("Kregistry (>=0.1)", True), ("kregistry-tools", False), ("kregistry; extra == 'x'", True)],
)
def test_a_requirement_of_kregistry_is_told_from_others(
    install: Install, tmp_path: Path, requirement: str, counts: bool
) -> None:
    install("acme-kernels", "1.2", "", plugin="acme", group="another.group")
    metadata = next(tmp_path.rglob("acme_kernels-1.2.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text() + f"Requires-Dist: {requirement}\n")
    assert bool(without_entry_points("kregistry")) is counts
