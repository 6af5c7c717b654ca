//! `resources` of a container: amounts that Kubernetes takes, and requests that fit into the limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::rule::Rule;

/// The rule that the amounts are some; `holds` says by [`are_amounts`] whether they are.
pub(crate) const fn amounts<T>(holds: fn(&T) -> bool) -> Rule<T> {
    Rule { field: ".resources", cel: AMOUNTS, message: AMOUNTS_MESSAGE, holds }
}

/// The rule that requests fit into limits; `holds` says by [`fit`] whether they do.
pub(crate) const fn fitting<T>(holds: fn(&T) -> bool) -> Rule<T> {
    Rule { field: ".resources.requests", cel: FIT, message: FIT_MESSAGE, holds }
}

/// Whether each of `self.resources` is an amount: [`are_amounts`] in CEL.
const AMOUNTS: &str = "!has(self.resources) || \
    (!has(self.resources.requests) || self.resources.requests.all(name, isQuantity(string(self.resources.requests[name])) && \
    quantity(string(self.resources.requests[name])).compareTo(quantity('0')) >= 0)) && \
    (!has(self.resources.limits) || self.resources.limits.all(name, isQuantity(string(self.resources.limits[name])) && \
    quantity(string(self.resources.limits[name])).compareTo(quantity('0')) >= 0))";

/// What must hold of amounts and what to write instead.
const AMOUNTS_MESSAGE: &str =
    "must be amounts as Kubernetes writes them, 0 or more; write for example cpu: 250m and memory: 512Mi";

/// Whether no request is more than its limit: [`fit`] in CEL.
const FIT: &str = "!has(self.resources) || !has(self.resources.requests) || !has(self.resources.limits) || \
    self.resources.requests.all(name, !(name in self.resources.limits) || \
    !isQuantity(string(self.resources.requests[name])) || !isQuantity(string(self.resources.limits[name])) || \
    quantity(string(self.resources.requests[name])).compareTo(quantity(string(self.resources.limits[name]))) <= 0)";

/// What must hold of requests and what to write instead.
const FIT_MESSAGE: &str =
    "must not be more than the limit of the same resource; lower the request, or raise the limit";

/// Whether each is an amount, and none is negative.
pub(crate) fn are_amounts(resources: Option<&ResourceRequirements>) -> bool {
    let of = |resources: &ResourceRequirements| {
        let all = [&resources.requests, &resources.limits].into_iter().flatten();
        all.flat_map(BTreeMap::values).all(|quantity| amount(quantity).is_some_and(|amount| amount >= 0.0))
    };
    resources.is_none_or(of)
}

/// Whether no request is more than its limit.
pub(crate) fn fit(resources: Option<&ResourceRequirements>) -> bool {
    let Some(ResourceRequirements { requests: Some(requests), limits: Some(limits), .. }) = resources else {
        return true;
    };
    requests.iter().all(|(name, request)| {
        let limit = limits.get(name).and_then(amount);
        amount(request).zip(limit).is_none_or(|(request, limit)| request <= limit)
    })
}

/// The number that is written: digits with perhaps a point, then perhaps a unit or an exponent.
fn amount(Quantity(text): &Quantity) -> Option<f64> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 9] =
        [("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if let Some(power) = BINARY.iter().position(|name| *name == unit) {
        return Some(number.parse::<f64>().ok()? * f64::from(1024).powi(power as i32 + 1));
    }
    let exponent = match DECIMAL.iter().find(|(name, _)| *name == unit) {
        Some((_, exponent)) => *exponent,
        None if unit.is_empty() => 0,
        None => unit.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    format!("{number}e{exponent}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        let of = |text: &str| amount(&Quantity(text.to_owned()));
        for (text, number) in [
            ("2", 2.0),
            ("1.5", 1.5),
            ("250m", 0.25),
            ("1100m", 1.1),
            ("4.35k", 4350.0),
            ("1.5Gi", 1_610_612_736.0),
            ("2E", 2e18),
            ("2e3", 2000.0),
            ("1E-3", 0.001),
            ("-1", -1.0),
        ] {
            assert_eq!(of(text), Some(number), "{text}");
        }
        for text in ["", "m", "1 Gi", "1GiB", "lots", "inf", "nan", "1e", "1.2.3", "-", "0x10"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
