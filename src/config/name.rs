//! Names that become names of files and folders.

use crate::base::error::{Error, Result};

const LONGEST_BYTES: usize = 100;

/// Checks the name of a project (`-n`), which is the name of its folder.
pub fn project_name(name: &str) -> Result<&str> {
    checked(name, "project")
}

/// Checks the name of `what` that is to be a file's or folder's.
pub(crate) fn checked<'a>(name: &'a str, what: &str) -> Result<&'a str> {
    let wrong = if name.trim().is_empty() {
        "it is empty"
    } else if name.len() > LONGEST_BYTES {
        "it is longer than 100 bytes"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.contains("..") {
        "it has '..' in it"
    } else if name.contains(['/', '\\']) {
        "it has '/' or '\\' in it"
    } else if name.contains(char::is_control) {
        "it has control characters in it"
    } else if name.trim() != name {
        "it begins or ends with a space"
    } else {
        return Ok(name);
    };
    Err(Error::usage(format!(
        "{what} name {name:?} cannot be used: {wrong}; choose a plain name such as friday-set"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind;
    use proptest::prelude::*;

    #[test]
    fn plain_names_are_taken() {
        for name in ["a", "friday-set", "Später 2", "日本", "v0.0.7"] {
            assert_eq!(project_name(name).unwrap(), name);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(101);
        for name in
            ["", " ", ".", "..", ".git", "a/b", "../a", "a\\b", "/a", "a..b", "a\nb", "a\0", &long]
        {
            assert_eq!(project_name(name).unwrap_err().kind, Kind::Usage, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_stays_in_its_folder(name in "[a./\\\\ \\x00-\\x1f~ü]{0,12}") {
            if let Ok(name) = project_name(&name) {
                let path = std::path::Path::new("projects").join(name);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("projects")));
                prop_assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(name));
            }
        }
    }
}
