//! Secrets that must not leave.

use std::borrow::Cow;

pub fn hide(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}
