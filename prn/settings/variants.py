"""A variant is a named set of overrides over the settings; with it, everything that concerns more than one key."""

from prn.datasets.registry import category_names, dataset_names
from prn.errors import SettingsError
from prn.settings.sections import VARIANT_SECTIONS, DatasetRun, Settings
from prn.settings.validation import merged, suggestion, validated


def resolve_variant(settings: Settings, variant: str) -> Settings:
    """The settings with the variant's overrides laid over them.

    Raises `SettingsError` for an unknown variant or an override outside `VARIANT_SECTIONS`.
    """
    if variant not in settings.variants:
        raise SettingsError(f"variants: unknown variant {variant!r}; {suggestion(variant, settings.variants)}")
    overrides = settings.variants[variant]
    for section in overrides:
        if section not in VARIANT_SECTIONS:
            hint = suggestion(section, VARIANT_SECTIONS)
            raise SettingsError(f"variants.{variant}.{section}: a variant cannot override this; {hint}")
    plain = merged(settings.model_dump(include=set(overrides)), overrides)
    changed = validated(Settings, plain, f"variants.{variant}")
    return settings.model_copy(update={section: getattr(changed, section) for section in overrides})


def check_settings(settings: Settings) -> None:
    """Everything that concerns more than one key; called by `parse_settings`."""
    published, runs = dataset_names(), settings.benchmark.datasets
    for name in settings.download.sources:
        if name not in (*published, *runs):
            raise SettingsError(f"download.sources.{name}: unknown data set; {suggestion(name, published)}")
    own = [name for name in runs if name not in published]
    for name in set(settings.report.credits).difference(own):
        raise SettingsError(f"report.credits.{name}: no data set of your own here; {suggestion(name, own)}")
    for name, run in runs.items():
        _check_run(settings, name, run)
    _check_foreground(settings, "synthesis")
    for name in settings.variants:
        resolved = resolve_variant(settings, name)
        _check_foreground(resolved, f"variants.{name}.synthesis")
        shots, seen = resolved.train.shots, settings.split.seen_anomalies
        if shots > seen:
            raise SettingsError(f"variants.{name}: train.shots is {shots}, but split.seen_anomalies is only {seen}")


def _check_run(settings: Settings, name: str, run: DatasetRun) -> None:
    """The names of a data set, of its categories where they are published, and of its variants."""
    path, published, sources = f"benchmark.datasets.{name}", dataset_names(), settings.download.sources
    if name not in published and name not in sources:
        raise SettingsError(
            f"{path}: unknown data set; {suggestion(name, published)}"
            " (a data set of your own needs its folder under download.sources)"
        )
    known = category_names(name) if name in published and name not in sources else run.categories
    for category in run.categories:
        if category not in known:
            raise SettingsError(f"{path}.categories: unknown category {category!r}; {suggestion(category, known)}")
    for variant in run.variants:
        if variant not in settings.variants:
            hint = suggestion(variant, settings.variants)
            raise SettingsError(f"{path}.variants: unknown variant {variant!r}; {hint}")


def _check_foreground(settings: Settings, path: str) -> None:
    """The names in the foreground rules: of published data sets and categories, or of those that are run."""
    published, runs = dataset_names(), settings.benchmark.datasets
    for name, rules in settings.synthesis.foreground.items():
        if name not in (*published, *runs):
            raise SettingsError(f"{path}.foreground.{name}: unknown data set; {suggestion(name, [*published, *runs])}")
        known = [*(category_names(name) if name in published else ()), *(runs[name].categories if name in runs else ())]
        for category in rules:
            if category not in known:
                hint = suggestion(category, known)
                raise SettingsError(f"{path}.foreground.{name}.{category}: unknown category; {hint}")
