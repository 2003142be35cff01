"""What a user must know of a category's files: what is read otherwise than it may look, and what is left out."""

from collections import Counter
from collections.abc import Sequence

from prn.datasets.found import Found
from prn.datasets.layout import Listing, counted, name_key, shown
from prn.datasets.matching import in_words
from prn.settings.sections import IndexSettings

EMPTY = {
    "keep": "they stay defects of which nothing is marked: never drawn as seen, and all their pixels count as normal in"
    " the pixel metrics; index.empty_masks: unmasked or leave_out decides otherwise",
    "unmasked": "index.empty_masks: unmasked takes them for defects without a mask, so that pixel metrics are n/a",
    "leave_out": "index.empty_masks: leave_out leaves them out",
}
RULES = {"label_map": "all that is not background is defect", "half": "above half of the mask's maximum is defect"}


def remarks(listing: Listing, found: Sequence[Found], settings: IndexSettings) -> list[str]:
    """The lines, the gravest first."""
    return [
        *(in_words(one) for one in listing.unmatched),
        *_of_names(listing, found),
        *_of_masks(found, settings),
        *_of_rotation(found),
        *_of_depth(found),
        *_of_colours(found),
        *([f"passed over: {counted(listing.passed_over)}"] if listing.passed_over else []),
    ]


def _of_names(listing: Listing, found: Sequence[Found]) -> list[str]:
    """Types that are good by another name, and types whose names differ by their case only."""
    lines = []
    named_in_tree = {entry.path: entry.type for entry in listing.entries}
    good = Counter(named_in_tree.get(one.row.path, "good") for one in found if not one.row.label)
    named = [f"{name!r} ({count} images)" for name, count in sorted(good.items()) if name != "good"]
    if listing.own and named:
        lines.append(f"taken for good by the name of their type: {shown(named)}")
    by_key: dict[str, set[str]] = {}
    for one in found:
        by_key.setdefault(name_key(one.row.type), set()).add(one.row.type)
    alike = [" and ".join(sorted(names)) for names in by_key.values() if len(names) > 1]
    return [*lines, *(f"the types {names} differ by case only and count as different" for names in alike)]


def _of_masks(found: Sequence[Found], settings: IndexSettings) -> list[str]:
    """How masks were read, and which of defects are empty."""
    masked = [one for one in found if one.row.mask]
    parts = []
    for rule, meaning in RULES.items():
        levels = [one.row.mask_levels for one in masked if one.row.mask_rule == rule]
        if levels:
            extent = f"{min(levels)}" if min(levels) == max(levels) else f"{min(levels)} to {max(levels)}"
            parts.append(f"{len(levels)} with {extent} levels by the rule {rule} ({meaning})")
    lines = [f"masks: {'; '.join(parts)}"] if parts else []
    if len(parts) > 1:
        by_rule = [[one.row.mask for one in masked if one.row.mask_rule == rule] for rule in RULES]
        fewest = min(by_rule, key=len)
        lines.append(f"masks are read by two rules; the fewer: {shown(fewest)}; index.mask_rule reads all by one")
    if soft := [one.row.mask for one in masked if one.soft_mask]:
        lines.append(
            f"{len(soft)} masks have few levels, but as soft borders have them, and each pixel that is not black"
            f" counts: {shown(soft)}; index.mask_rule: half cuts them at half of their maximum"
        )
    if joint := [one.row.mask for one in masked if one.mask_files > 1]:
        lines.append(f"{len(joint)} masks are what any of the files in a folder marks: {shown(joint)}")
    shared = Counter(one.row.mask for one in masked)
    if twice := [mask for mask, count in shared.items() if count > 1]:
        lines.append(f"{len(twice)} masks belong to more than one image: {shown(twice)}")
    if empty := [one.row.path for one in masked if one.row.label and not one.row.mask_area]:
        lines.append(f"{len(empty)} defects have an empty mask: {shown(empty)}; {EMPTY[settings.empty_masks]}")
    return lines


def _of_rotation(found: Sequence[Found]) -> list[str]:
    """Images or masks that EXIF turns alone, where sizes do not tell which pixels the mask was drawn on."""
    odd = [
        one.row.path
        for one in found
        if one.row.mask
        and one.orientation != one.mask_orientation
        and (one.row.width == one.row.height or max(one.orientation, one.mask_orientation) < 5)
    ]
    if not odd:
        return []
    return [
        f"{len(odd)} images are turned by their EXIF tag and their masks are not, or the other way: {shown(odd)};"
        " if the masks were drawn on the pixels as stored they do not fit: look, and save both upright without the tag"
    ]


def _of_depth(found: Sequence[Found]) -> list[str]:
    """Deep images that fill less than a quarter of their range, which leaves few grey levels of 256."""
    deep = [one for one in found if one.row.bits > 8]
    dark = [one for one in deep if 4 * one.top < 2**one.row.bits]
    if not dark:
        return []
    bits, top = dark[0].row.bits, max(one.top for one in deep)
    levels = (max(one.top for one in dark) >> (bits - 8)) + 1
    line = (
        f"{len(dark)} of {len(deep)} images of {bits} bits use less than a quarter of their range and become {levels}"
        f" grey levels or fewer (the highest value is {top}): {shown([one.row.path for one in dark])}"
    )
    fits = next(usual for usual in (10, 12, 14, 16) if top < 2**usual)
    return [line + (f"; if the camera fills {fits} bits, set index.image_bits: {fits}" if fits < bits else "")]


def _of_colours(found: Sequence[Found]) -> list[str]:
    """Images that are partly transparent, or whose colours are meant otherwise than as sRGB."""
    lines = []
    if through := [one.row.path for one in found if one.transparent]:
        lines.append(
            f"{len(through)} images are partly transparent, and are read with the colours that lie underneath:"
            f" {shown(through)}"
        )
    profiles = Counter(one.profile for one in found if one.profile)
    for profile, count in sorted(profiles.items()):
        lines.append(f"{count} images have the colour profile {profile!r}; their colours are read as stored")
    return lines
