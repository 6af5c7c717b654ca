//! When a CronJob runs: the five fields that Kubernetes takes.

macro_rules! item {
    ($value:literal) => {
        concat!("([*]|", $value, "(-", $value, ")?)(/[1-9][0-9]?)?")
    };
}

/// `*`, a number or a range, each perhaps with a step, or a list of them.
macro_rules! field {
    ($value:literal) => {
        concat!(item!($value), "(,", item!($value), ")*")
    };
}

/// Whether `self.schedule` is a schedule: [`is_cron`] in CEL.
pub(crate) const CEL: &str = concat!(
    "self.schedule.matches('(?i)^",
    field!("([0-5]?[0-9])"),
    " ",
    field!("([01]?[0-9]|2[0-3])"),
    " ",
    field!("(0?[1-9]|[12][0-9]|3[01])"),
    " ",
    field!("(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"),
    " ",
    field!("(0?[0-6]|sun|mon|tue|wed|thu|fri|sat)"),
    "$')"
);

/// What must hold of a schedule and what to write instead.
pub(crate) const MESSAGE: &str = "must be the five fields of cron: minute (0-59), hour (0-23), day of month (1-31), month (1-12) and day of week (0-6, Sunday is 0); write for example 0 3 * * *";

/// The least and the greatest number of a field, and names that stand for numbers.
struct Field(u8, u8, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    Field(0, 59, &[]),
    Field(0, 23, &[]),
    Field(1, 31, &[]),
    Field(1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    Field(0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Whether `schedule` is one.
pub(crate) fn is_cron(schedule: &str) -> bool {
    let fields: Vec<_> = schedule.split(' ').collect();
    fields.len() == FIELDS.len() && fields.iter().zip(&FIELDS).all(|(text, field)| field.has(text))
}

impl Field {
    fn has(&self, list: &str) -> bool {
        list.split(',').all(|item| {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let in_range = range == "*" || self.has_value(first) && self.has_value(last);
            in_range && !step.starts_with('0') && number(step).is_some()
        })
    }

    fn has_value(&self, text: &str) -> bool {
        let named = self.2.iter().any(|name| name.eq_ignore_ascii_case(text));
        named || number(text).is_some_and(|number| (self.0..=self.1).contains(&number))
    }
}

/// One or two digits.
fn number(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
