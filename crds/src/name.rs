//! Names as Kubernetes has them: of objects, and of labels and annotations.

macro_rules! subdomain {
    () => {
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
    };
}

/// One to 63 letters, digits and `- _ .`, the first and the last a letter or digit.
macro_rules! part {
    () => {
        "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
    };
}

macro_rules! qualified {
    () => {
        concat!("'^(", subdomain!(), "/)?", part!(), "$'")
    };
}

/// Whether `self.labels` are labels: [`is_qualified`] and [`is_label_value`] in CEL.
pub(crate) const LABELS: &str = concat!(
    "!has(self.labels) || self.labels.all(name, name.matches(",
    qualified!(),
    ") && self.labels[name].matches('^(",
    part!(),
    ")?$'))"
);

/// Whether `self.annotations` have names of annotations: [`is_qualified`] in CEL.
pub(crate) const ANNOTATIONS: &str =
    concat!("!has(self.annotations) || self.annotations.all(name, name.matches(", qualified!(), "))");

/// Whether `self.serviceAccountName` is that of an object: [`is_subdomain`] in CEL.
pub(crate) const SERVICE_ACCOUNT: &str =
    concat!("!has(self.serviceAccountName) || self.serviceAccountName.matches('^", subdomain!(), "$')");

/// The same of `self.priorityClassName`.
pub(crate) const PRIORITY_CLASS: &str =
    concat!("!has(self.priorityClassName) || self.priorityClassName.matches('^", subdomain!(), "$')");

/// Whether `name` is that of a namespace, such as `taxi-1`: a label of RFC 1123.
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_in_subdomain(name)
}

/// Whether `name` is that of an object, such as `taxi.nyc-1`.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_in_subdomain)
}

fn is_in_subdomain(label: &str) -> bool {
    let end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    is_framed(label, end, |b| end(b) || b == b'-')
}

/// Whether `name` is that of a label or annotation, such as `example.com/team`.
pub(crate) fn is_qualified(name: &str) -> bool {
    match name.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_part(name),
        None => is_part(name),
    }
}

/// Whether `value` may be that of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_part(value)
}

fn is_part(text: &str) -> bool {
    let end = |b: u8| b.is_ascii_alphanumeric();
    text.len() <= 63 && is_framed(text, end, |b| end(b) || b"-_.".contains(&b))
}

/// Whether `text` is not empty, its first and last byte are an `end`, and all are `any`.
fn is_framed(text: &str, end: impl Fn(u8) -> bool, any: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|byte| byte.is_some_and(|byte| end(*byte))) && bytes.iter().all(|byte| any(*byte))
}
