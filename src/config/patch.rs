//! Programs that an instance becomes in the place of itself (`privileged-binary-patch` and its like).

use serde::{Deserialize, Serialize};

/// The program of each moment at which an instance can become one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PatchSpec {
    /// Before it becomes its user, by whoever starts it.
    pub privileged: Option<Patch>,
    /// As its user.
    pub unprivileged: Option<Patch>,
}

impl PatchSpec {
    /// Whether it becomes another program.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.privileged.is_some() || self.unprivileged.is_some()
    }
}

/// Another program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Patch {
    /// By its path or by a name for the `PATH`: it gets the arguments of the instance.
    Program(String),
    /// A command of the shell.
    Command(String),
}

impl Patch {
    /// What it is called for people: a command may hold secrets behind the program's name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Program(program) => program.clone(),
            Self::Command(command) => super::companions::name_of(command),
        }
    }

    /// Program and arguments, of an instance with these arguments.
    #[must_use]
    pub fn command_line(&self, arguments: Vec<String>) -> (String, Vec<String>) {
        match self {
            Self::Program(program) => (program.clone(), arguments),
            Self::Command(command) => ("/bin/sh".to_owned(), vec!["-c".to_owned(), command.clone()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_the_arguments_of_the_instance_and_a_command_its_own() {
        let arguments = || vec!["--ini".to_owned(), "a.ini".to_owned()];
        for (patch, name, expected) in [
            (Patch::Program("/opt/x/serve".to_owned()), "/opt/x/serve", "/opt/x/serve --ini a.ini"),
            (Patch::Command("exec ./serve --key k".to_owned()), "serve", "/bin/sh -c exec ./serve --key k"),
        ] {
            let (program, arguments) = patch.command_line(arguments());
            assert_eq!(format!("{program} {}", arguments.join(" ")), expected);
            assert_eq!(patch.name(), name);
        }
    }
}
