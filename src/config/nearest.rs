//! PURE. What the writer of an unknown name may have meant.

/// The name that is most like `key`, unless none is near.
pub(super) fn nearest<'a>(key: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer keys are nobody's slip, and the distance costs the product of the lengths.
    let key = Some(key.to_ascii_lowercase()).filter(|key| key.len() <= 64)?;
    let distances = names.into_iter().map(|name| (strsim::damerau_levenshtein(&key, &name.to_ascii_lowercase()), name));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(2))
        .map(|(_, name)| name)
}
