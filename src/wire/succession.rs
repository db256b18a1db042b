//! What becomes of the sockets of an instance that is told to end.

use serde::{Deserialize, Serialize};

/// Who serves on them, and so what the instance does with them and their files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flags", into = "Flags")]
pub enum Succession {
    /// The vassal's next life, which is to be started: the emperor has them meanwhile.
    #[default]
    Next,
    /// Another life, which has the files as well: `vacuum` removes nothing.
    Another,
    /// Whoever the next start of the service brings: who comes waits, so `vacuum` removes the files of none.
    NextStart,
    /// Nobody: who comes is refused from now on.
    Nobody,
}

/// How every version says it; what is missing is not so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Flags {
    keep_files: bool,
    last: bool,
    keep_sockets: bool,
}

impl From<Succession> for Flags {
    fn from(succession: Succession) -> Self {
        Self {
            keep_files: succession == Succession::Another,
            last: succession == Succession::Nobody,
            keep_sockets: succession == Succession::NextStart,
        }
    }
}

impl From<Flags> for Succession {
    fn from(flags: Flags) -> Self {
        // What costs nobody a socket goes first.
        match flags {
            Flags { keep_files: true, .. } => Self::Another,
            Flags { keep_sockets: true, .. } => Self::NextStart,
            Flags { last: true, .. } => Self::Nobody,
            Flags { .. } => Self::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::ToInstance;
    use super::*;

    #[test]
    fn every_version_understands_it() {
        let stop = |succession| ToInstance::Stop { mercy_ms: Some(5), succession };
        let read = |json: &str| match serde_json::from_str(json).unwrap() {
            ToInstance::Stop { succession, .. } => succession,
            other => panic!("{other:?}"),
        };
        for (succession, flags) in [
            (Succession::Next, r#""keep_files":false,"last":false,"keep_sockets":false"#),
            (Succession::Another, r#""keep_files":true,"last":false,"keep_sockets":false"#),
            (Succession::NextStart, r#""keep_files":false,"last":false,"keep_sockets":true"#),
            (Succession::Nobody, r#""keep_files":false,"last":true,"keep_sockets":false"#),
        ] {
            let json = format!(r#"{{"Stop":{{"mercy_ms":5,{flags}}}}}"#);
            assert_eq!(serde_json::to_string(&stop(succession)).unwrap(), json);
            assert_eq!(read(&json), succession);
        }
        for (json, succession) in [
            (r#"{"Stop":{"mercy_ms":null}}"#, Succession::Next),
            (r#"{"Stop":{"mercy_ms":1,"keep_files":true}}"#, Succession::Another),
            (r#"{"Stop":{"mercy_ms":1,"last":true,"of_later":1}}"#, Succession::Nobody),
            (r#"{"Stop":{"mercy_ms":1,"keep_files":true,"keep_sockets":true}}"#, Succession::Another),
        ] {
            assert_eq!(read(json), succession, "{json}");
        }
    }
}
