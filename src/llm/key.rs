//! The key of a language model's interface, from where the settings say.
//!
//! Holds: no message shows the key, nor the value of a variable that holds none.

use crate::base::error::{Error, Result};
use crate::base::redact::{Secret, secret_file};
use crate::config::Llm;

/// Reads a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `None` only for an interface of one's own, which may need no key. `usual` is the variable that
/// the provider's own documents name.
pub fn key(llm: &Llm, usual: &str, env: Env<'_>) -> Result<Option<Secret>> {
    match (&llm.api_key_env, &llm.api_key_file) {
        (Some(_), Some(_)) => Err(Error::usage(
            "llm: api_key_env and api_key_file are both set; the key is in one place, keep that one",
        )),
        (Some(name), None) => {
            let value = env(name).unwrap_or_default();
            match value.trim() {
                "" => Err(Error::usage(format!(
                    "llm.api_key_env: the environment variable {name} is not set, or empty; put \
                     the key into it before the start"
                ))),
                key => Ok(Some(Secret::new(key))),
            }
        }
        (None, Some(file)) => {
            secret_file(file).map(Some).map_err(|e| e.context("llm.api_key_file"))
        }
        (None, None) if llm.api_url.is_some() => Ok(None),
        (None, None) => Err(Error::usage(format!(
            "llm.provider: it asks for a key; name the environment variable that holds it in \
             llm.api_key_env (such as {usual}) or a file in llm.api_key_file, or set llm.api_url \
             to an interface of your own"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::tests::settings;

    #[test]
    fn a_key_is_found_or_said_to_be_missing() {
        let env = |name: &str| (name == "THE_KEY").then(|| " sk-llm-key-test\n".to_owned());
        let mut llm = settings("openai", None);
        let none = key(&llm, "OPENAI_API_KEY", &env).unwrap_err().to_string();
        assert!(none.contains("OPENAI_API_KEY") && none.contains("api_key_file"), "{none}");
        llm.api_key_env = Some("THE_KEY".into());
        assert_eq!(key(&llm, "", &env).unwrap().unwrap().reveal(), "sk-llm-key-test");
        llm.api_key_env = Some("NO_KEY".into());
        let missing = key(&llm, "", &env).unwrap_err();
        assert!(missing.to_string().contains("NO_KEY is not set"), "{missing}");
        llm.api_key_file = Some("/nowhere/key".into());
        assert!(key(&llm, "", &env).unwrap_err().to_string().contains("both set"));
        llm.api_key_env = None;
        let unread = key(&llm, "", &env).unwrap_err().to_string();
        assert!(unread.contains("llm.api_key_file") && unread.contains("/nowhere/key"), "{unread}");
        llm.api_key_file = None;
        llm.api_url = Some("http://127.0.0.1:11434/v1".into());
        assert_eq!(key(&llm, "", &env).unwrap(), None);
    }
}
